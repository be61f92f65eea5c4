"""Noisy Feature Mixup (Lim et al., 2021, arXiv:2110.02180): Manifold Mixup, and noise on what is blended.

Blended images or features are multiplied by noise around 1 and noise around 0 is added; labels are those of Mixup. Both
levels are fixed, and scaled for each batch by a number from Beta(2, 5), as in the authors' experiments: additive noise
is normal, multiplicative noise uniform. Layers are those of :mod:`deft.augment.manifold_mixup`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from deft.augment.manifold_mixup import draw_layer
from deft.augment.mixup import blend, numpy_generator
from deft.ranges import Factor, Range, Share, Weight, check_ranges


@dataclass(frozen=True)
class NoisyFeatureMixup:
    """Blend a batch with itself at one of several layers, with noise; a :class:`deft.contracts.LayerAugmentation`."""

    alpha: Factor = 1.0
    """The weight is drawn from Beta(alpha, alpha); the paper's 1 is uniform."""
    additive: Weight = 0.4
    """Largest standard deviation of the additive noise, in units of normalised images or of features. The authors have
    0.4 for CIFAR and 0.1 for ImageNet."""
    multiplicative: Share = 0.2
    """Largest deviation of the multiplicative noise from 1; 0.2 for CIFAR and 0.1 for ImageNet."""
    layers: Annotated[tuple[int, ...], Range(0, 1000)] = (0, 2, 3)
    """Layers at which a batch may be blended, equally likely: 0 the images, k the k-th feature map."""

    def __post_init__(self) -> None:
        """Refuse values that are invalid for every network."""
        check_ranges(self)

    def layer(self, layers: int, rng: torch.Generator) -> int:
        """Draw one of the layers; raises InputError if the network has not all of them."""
        return draw_layer(type(self).__name__, self.layers, layers, rng)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Blend images (N, 3, H, W) or features (N, C, h, w), and labels (N, K), and add noise."""
        blended, labels = blend(x, labels, self.alpha, rng)
        levels = numpy_generator(rng).beta(2, 5, size=2)
        # A generator on the device: drawn on the CPU, the noise of a batch would take as long as a step on a GPU.
        source = torch.Generator(x.device).manual_seed(int(torch.randint(2**62, (), generator=rng)))
        factor = 2 * torch.rand(x.shape, generator=source, device=x.device) - 1
        noise = torch.randn(x.shape, generator=source, device=x.device)
        factor = 1 + self.multiplicative * float(levels[0]) * factor
        noise = self.additive * float(levels[1]) * noise
        return blended * factor.to(x.dtype) + noise.to(x.dtype), labels
