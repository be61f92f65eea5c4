"""Cutout (DeVries and Taylor, 2017, arXiv:1708.04552): hide a square of each image and keep its labels.

The square is centred anywhere in the crop and cut off at its border, and filled with the mean colour. Nothing tells
what lies under it: an object that is hidden whole keeps its label. The crop may hold padding, which counts as image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deft.contracts import InputError


@dataclass(frozen=True)
class Cutout:
    """Fill squares of each image with the mean colour."""

    side: float = 0.25
    """Side of a square as a share of the crop's shorter side. The paper has 0.5 on CIFAR-10 and 0.25 on CIFAR-100. Its
    images show one object that fills them; photographs with tags show several, small ones too, and at 0.5 many would be
    hidden whole while their tags stay."""
    count: int = 1
    """Squares in each image; they may overlap."""

    def __post_init__(self) -> None:
        """Refuse squares that are none."""
        if not 0 < self.side <= 1 or self.count < 1:
            raise InputError(
                f"Cutout expects side above 0 and at most 1 and count of at least 1, got {self.side} and {self.count}"
            )

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Hide squares of images (N, 3, H, W); labels (N, K) stay. A :class:`deft.contracts.Augmentation`."""
        height, width = x.shape[-2:]
        side = max(1, round(self.side * min(height, width)))
        hidden = x.clone()
        for index in range(len(x)):
            for _ in range(self.count):
                hidden[index, :, stretch(height, side, rng), stretch(width, side, rng)] = 0
        return hidden, labels


def stretch(length: int, side: int, rng: torch.Generator) -> slice:
    """``side`` of ``length`` pixels with their centre drawn from all, less what lies beyond the border."""
    start = int(torch.randint(length, (), generator=rng)) - side // 2
    return slice(max(0, start), min(length, start + side))
