"""Manifold Mixup (Verma et al., 2019, arXiv:1806.05236): Mixup of the images or of a layer's features, drawn per batch.

The paper draws among the input and the first two residual blocks, with Beta(2, 2). Which layers make sense depends on
where training begins: the recipe of IRN trains nothing up to stride 8, the third feature map of a ResNet or a
MobileNetV2. Blending there or before is a blend of fixed features; it teaches all that comes behind, and nothing
earlier. Blending the last map teaches the head alone, and for the head of plain CAM it is a blend of scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deft.augment.mixup import blend, check_alpha
from deft.contracts import InputError


@dataclass(frozen=True)
class ManifoldMixup:
    """Blend a batch with itself at one of several layers; a :class:`deft.contracts.LayerAugmentation`."""

    alpha: float = 2.0
    """The weight is drawn from Beta(alpha, alpha); 2, the paper's, blends more strongly than Mixup's 0.2."""
    layers: tuple[int, ...] = (0, 2, 3)
    """Where a batch may be blended, each equally often: 0 the images, k the k-th feature map. A ResNet has five, the
    stem and layer1 to layer4: (0, 2, 3) is input, layer1 and layer2, the paper's. 4, layer3, can be added."""

    def __post_init__(self) -> None:
        """Refuse what can be drawn from in no network."""
        check_alpha("ManifoldMixup", self.alpha)
        if not self.layers or min(self.layers) < 0:
            raise InputError(
                f"ManifoldMixup expects layers as numbers from 0 (the images) on, as in (0, 2, 3), got {self.layers}"
            )

    def layer(self, layers: int, rng: torch.Generator) -> int:
        """One of the layers, for a network with that many feature maps.

        Raises:
            InputError: the network has fewer maps than one of the layers asks for.
        """
        if max(self.layers) > layers:
            raise InputError(
                f"ManifoldMixup's layers are {self.layers}, but the backbone has {layers} feature maps: "
                f"expected numbers from 0 (the images) to {layers}; set classifier.augment.layers"
            )
        return self.layers[int(torch.randint(len(self.layers), (), generator=rng))]

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Blend images (N, 3, H, W) or features (N, C, h, w), and labels (N, K)."""
        return blend(x, labels, self.alpha, rng)
