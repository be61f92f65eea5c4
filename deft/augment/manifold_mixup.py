"""Manifold Mixup (Verma et al., 2019, arXiv:1806.05236): Mixup of the images or of a layer's features, drawn per batch.

The paper draws among the input and the first two residual blocks, with Beta(2, 2). Which layers make sense depends on
which are trained: the recipe of IRN freezes everything up to stride 8, the third feature map of a ResNet or a
MobileNetV2. Blending there or earlier blends fixed features, and affects the training of all later layers. Blending the
last map affects only the head, and for the head of plain CAM it is a blend of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from deft.augment.mixup import blend
from deft.contracts import InputError
from deft.ranges import Factor, Range, check_ranges


@dataclass(frozen=True)
class ManifoldMixup:
    """Blend a batch with itself at one of several layers; a :class:`deft.contracts.LayerAugmentation`."""

    alpha: Factor = 2.0
    """The weight is drawn from Beta(alpha, alpha); 2, the paper's, blends more strongly than Mixup's 0.2."""
    layers: Annotated[tuple[int, ...], Range(0, 1000)] = (0, 2, 3)
    """Layers at which a batch may be blended, equally likely: 0 the images, k the k-th feature map. A ResNet has five,
    the stem and layer1 to layer4: (0, 2, 3) is input, layer1 and layer2, as in the paper. 4, layer3, can be added."""

    def __post_init__(self) -> None:
        """Refuse values that are invalid for every network."""
        check_ranges(self)

    def layer(self, layers: int, rng: torch.Generator) -> int:
        """Draw one of the layers, for a network with ``layers`` feature maps.

        Raises:
            InputError: the network has fewer feature maps than one of the layers needs.
        """
        return draw_layer(type(self).__name__, self.layers, layers, rng)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Blend images (N, 3, H, W) or features (N, C, h, w), and labels (N, K)."""
        return blend(x, labels, self.alpha, rng)


def draw_layer(name: str, chosen: tuple[int, ...], layers: int, rng: torch.Generator) -> int:
    """Draw one of the layers of an augmentation, for a network with ``layers`` feature maps.

    Args:
        name: of the augmentation, for the message.
        chosen: layers at which it may act: 0 the images, k the k-th feature map.
        layers: number of feature maps.
        rng: where it is drawn from.

    Raises:
        InputError: the network has fewer feature maps than one of the layers needs.
    """
    if max(chosen) > layers:
        raise InputError(
            f"{name}'s layers are {chosen}, but the backbone has {layers} feature maps: "
            f"expected numbers from 0 (the images) to {layers}; set classifier.augment.layers"
        )
    return chosen[int(torch.randint(len(chosen), (), generator=rng))]
