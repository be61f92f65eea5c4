"""Hide-and-Seek (Singh and Lee, 2017, arXiv:1704.04232; Singh et al., 2018, arXiv:1811.02545).

Each image is divided into a raster of patches, each patch is hidden with probability 0.5 and filled with the mean
colour, and the labels do not change: a network that only recognises an object's most discriminative part has to find
others. The size of the patches is drawn for every image. The paper's sizes are pixels of images of 224 x 224; here they
are scaled with the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from deft.ranges import Range, Share, check_ranges

PAPER_SIDE = 224
"""Side in pixels of the images to which the paper's patch sizes refer."""


@dataclass(frozen=True)
class HideAndSeek:
    """Hide each patch of a raster with a given probability."""

    sizes: Annotated[tuple[int, ...], Range(0, PAPER_SIDE)] = (0, 16, 32, 44, 56)
    """Patch sides, one of which is drawn per image, in 224ths of the crop's shorter side; 0 hides nothing."""
    hide: Share = 0.5
    """Probability that a patch is hidden."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Hide patches of images (N, 3, H, W); labels (N, K) do not change. A :class:`deft.contracts.Augmentation`."""
        hidden = torch.stack([self.raster(x.shape[-2], x.shape[-1], rng) for _ in x])
        return x.clone().masked_fill_(hidden[:, None].to(x.device), 0), labels  # a clone keeps the memory format

    def raster(self, height: int, width: int, rng: torch.Generator) -> Tensor:
        """Hidden pixels of one image, bool (H, W); patches at the right and bottom border may be clipped."""
        size = self.sizes[int(torch.randint(len(self.sizes), (), generator=rng))]
        if size == 0:
            return torch.zeros(height, width, dtype=torch.bool)
        side = max(1, round(size / PAPER_SIDE * min(height, width)))
        patches = torch.rand(-(-height // side), -(-width // side), generator=rng) < self.hide
        return patches.repeat_interleave(side, 0).repeat_interleave(side, 1)[:height, :width]
