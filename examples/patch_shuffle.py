"""An augmentation of one's own in one file: PatchShuffle (Kang, Dong, Zheng and Yang, 2017, arXiv:1707.07103).

    deft run examples/patch_shuffle.py --data folder:PHOTOS --out runs/shuffled --set classifier.augment.side=4

In some images the pixels of every small patch change places: texture is lost, colour and coarse shape stay. Here the
patches are squares and every order of a patch's pixels is equally likely.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deft import InputError, Pipeline, recipes


@dataclass(frozen=True)
class PatchShuffle:
    """Settings; with ``__call__`` this is all that an augmentation of images has to be."""

    side: int = 8
    """Of a patch, in pixels."""
    share: float = 0.25
    """Probability that an image is shuffled."""

    def __post_init__(self) -> None:
        """Tell what was expected while it is still cheap: settings are made before anything runs."""
        if self.side < 1 or not 0 <= self.share <= 1:
            raise InputError(f"PatchShuffle expects side from 1 on and share in 0 to 1, got {self.side}, {self.share}")

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """A new batch; what comes in is not written to.

        Args:
            x: normalised images, (N, 3, H, W); what is left over at the right and bottom border stays.
            labels: float multi-hot, (N, K); here they stay.
            rng: the only source of chance, on the CPU even where x is not.
        """
        chosen = torch.rand(len(x), generator=rng) < self.share
        n, channels, down, across = *x.shape[:2], x.shape[2] // self.side, x.shape[3] // self.side
        height, width = down * self.side, across * self.side
        grid = (n, channels, down, self.side, across, self.side)
        pixels = x[..., :height, :width].reshape(grid).transpose(3, 4).flatten(4)  # of each patch, in a row
        order = torch.rand(n, 1, *pixels.shape[2:], generator=rng).argsort(dim=4).to(x.device)
        shuffled = pixels.gather(4, order.expand_as(pixels)).reshape(*pixels.shape[:4], self.side, self.side)
        new = x.clone()
        new[..., :height, :width] = shuffled.transpose(3, 4).reshape(n, channels, height, width)
        return torch.where(chosen.view(-1, 1, 1, 1).to(x.device), new, x), labels


def recipe() -> Pipeline:
    """IRN on a classifier that learns from shuffled images.

    Paper: Kang et al., 2017, arXiv:1707.07103.
    """
    base = recipes.irn()
    return replace(base, classifier=replace(base.own_classifier, augment=PatchShuffle()))
