"""CutMix (Yun et al., 2019, arXiv:1905.04899): paste a box of another image, and mix the labels by area.

As published: one box and one permutation per batch, box sides sqrt(1 - l) times the image's with l from Beta(1, 1), a
centre drawn from all pixels, and labels mixed by the area of the box after clipping. The paper has one label per image.
With several, there are two readings, see :attr:`CutMix.union`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deft.augment.cutout import stretch
from deft.augment.mixup import beta
from deft.ranges import Factor, check_ranges


@dataclass(frozen=True)
class CutMix:
    """Paste into each image a box of its partner in the batch."""

    alpha: Factor = 1.0
    """The share of the image that is kept is drawn from Beta(alpha, alpha); the paper's 1 is uniform."""
    union: bool = False
    """Whether the result has all tags of both images. False mixes the tags by area, as in the paper: for a class from a
    box of a tenth of the image, the target probability is 0.1. True labels every visible object in full, but also
    objects that the box covers or does not include."""

    def __post_init__(self) -> None:
        """Refuse an invalid parameter of the Beta distribution."""
        check_ranges(self)

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Paste into images (N, 3, H, W), mix labels (N, K); a :class:`deft.contracts.Augmentation`."""
        height, width = x.shape[-2:]
        side = math.sqrt(1 - beta(self.alpha, rng))
        perm = torch.randperm(len(x), generator=rng).to(x.device)
        rows, columns = stretch(height, round(side * height), rng), stretch(width, round(side * width), rng)
        pasted = x.clone()
        pasted[..., rows, columns] = x[perm][..., rows, columns]
        kept = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        other = labels[perm]
        if self.union:  # an image with no visible pixel contributes no labels
            return pasted, torch.maximum(labels * float(kept > 0), other * float(kept < 1))
        return pasted, kept * labels + (1 - kept) * other
