"""CutMix (Yun et al., 2019, arXiv:1905.04899): paste a box of another image, and mix the labels by area.

As published: one box and one permutation for a batch, box sides sqrt(1 - l) of the image's with l from Beta(1, 1), a
centre drawn from all pixels, and the share of the labels taken from the box that is left after clipping. The paper has
one label an image. With several, two readings exist, see :attr:`CutMix.union`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deft.augment.cutout import stretch
from deft.augment.mixup import beta, check_alpha


@dataclass(frozen=True)
class CutMix:
    """Paste a box of each image's partner in the batch over it."""

    alpha: float = 1.0
    """The share of the image that is kept is drawn from Beta(alpha, alpha); 1, the paper's, is uniform."""
    union: bool = False
    """Whether a pasted image has the tags of both images in full. False mixes them by area, as the paper does: a class
    on a tenth of the picture is to be found with probability 0.1. True says that what is there is there, but an object
    that the box covers, or of which the box shows nothing, is still claimed."""

    def __post_init__(self) -> None:
        """Refuse what is no parameter of a Beta distribution."""
        check_alpha("CutMix", self.alpha)

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
        if self.union:  # an image of which no pixel is left has no say
            return pasted, torch.maximum(labels * float(kept > 0), other * float(kept < 1))
        return pasted, kept * labels + (1 - kept) * other
