"""Cutout (DeVries and Taylor, 2017, arXiv:1708.04552): hide a square of each image and keep its labels.

The square is centred anywhere in the crop, clipped at its border, and filled with the mean colour. Labels do not change
even if an object is hidden completely. Padding in the crop counts as image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from deft.ranges import Range, check_ranges


@dataclass(frozen=True)
class Cutout:
    """Fill squares of each image with the mean colour."""

    side: Annotated[float, Range(0, 1, above=True)] = 0.25
    """Side of a square as a share of the crop's shorter side. The paper uses 0.5 on CIFAR-10 and 0.25 on CIFAR-100. In
    its images one object fills the frame; tagged photographs have several, including small ones, and at 0.5 many would
    be hidden completely while their tags remain."""
    count: Annotated[int, Range(1, 10_000)] = 1
    """Number of squares in each image; they may overlap."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Hide squares of images (N, 3, H, W); labels (N, K) do not change. A :class:`deft.contracts.Augmentation`."""
        height, width = x.shape[-2:]
        side = max(1, round(self.side * min(height, width)))
        hidden = x.clone()
        for index in range(len(x)):
            for _ in range(self.count):
                hidden[index, :, stretch(height, side, rng), stretch(width, side, rng)] = 0
        return hidden, labels


def stretch(length: int, side: int, rng: torch.Generator) -> slice:
    """Random interval of ``side`` pixels, centred on any of ``length`` pixels and clipped at the border."""
    start = int(torch.randint(length, (), generator=rng)) - side // 2
    return slice(max(0, start), min(length, start + side))
