"""Mixup (Zhang et al., 2018, arXiv:1710.09412): train on blends of two images and of their labels.

As in the authors' experiments, one weight and one permutation are used for a whole batch. With several labels per image
the loss takes the blended labels ``l * y_a + (1 - l) * y_b`` as targets: sigmoid cross-entropy is linear in its
targets, so this equals the same blend of the two losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deft.ranges import Factor, check_ranges


@dataclass(frozen=True)
class Mixup:
    """Blend each image of a batch with another image of the batch."""

    alpha: Factor = 0.2
    """The weight is drawn from Beta(alpha, alpha): near 0 or 1 for small values, uniform for 1. The paper uses 0.2 on
    ImageNet, where the networks of this toolkit are pretrained, and 1 on CIFAR."""

    def __post_init__(self) -> None:
        """Refuse an invalid parameter of the Beta distribution."""
        check_ranges(self)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Blend images (N, 3, H, W) and labels (N, K); a :class:`deft.contracts.Augmentation`."""
        return blend(x, labels, self.alpha, rng)


def blend(x: Tensor, labels: Tensor, alpha: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blend a batch of images or features (N, C, H, W), and its labels (N, K), with a permutation of itself."""
    weight = beta(alpha, rng)
    perm = torch.randperm(len(x), generator=rng).to(x.device)
    return weight * x + (1 - weight) * x[perm], weight * labels + (1 - weight) * labels[perm]


def beta(alpha: float, rng: torch.Generator) -> float:
    """A number in [0, 1] from Beta(alpha, alpha), drawn by NumPy: torch's Beta takes no generator."""
    return float(numpy_generator(rng).beta(alpha, alpha))


def numpy_generator(rng: torch.Generator) -> np.random.Generator:
    """A generator of NumPy, for distributions for which torch takes no generator."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
