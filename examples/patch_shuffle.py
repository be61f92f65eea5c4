"""A custom augmentation in one file: PatchShuffle (Kang, Dong, Zheng and Yang, 2017, arXiv:1707.07103).

    deft run examples/patch_shuffle.py --data folder:PHOTOS --out runs/shuffled --set classifier.augment.side=4

In some images the pixels within every small patch are shuffled: texture is lost, colour and coarse shape remain. Here
the patches are squares, and every order of a patch's pixels is equally likely.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deft import InputError, Pipeline, recipes


@dataclass(frozen=True)
class PatchShuffle:
    """Settings; ``__call__`` is all that an augmentation of images must have in addition."""

    side: int = 8
    """Side of a patch, in pixels."""
    share: float = 0.25
    """Probability that an image is shuffled."""

    def __post_init__(self) -> None:
        """Refuse values out of range, before anything runs."""
        if self.side < 1 or not 0 <= self.share <= 1:
            raise InputError(f"PatchShuffle expects side >= 1 and share in 0 to 1, got {self.side}, {self.share}")

    def __call__(self, x: Tensor, labels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The augmented batch; the arguments are not modified.

        Args:
            x: normalised images, (N, 3, H, W); pixels beyond the last whole patch do not change.
            labels: float multi-hot, (N, K); not changed.
            rng: the only source of randomness, always on the CPU.
        """
        chosen = torch.rand(len(x), generator=rng) < self.share
        n, channels, down, across = *x.shape[:2], x.shape[2] // self.side, x.shape[3] // self.side
        height, width = down * self.side, across * self.side
        grid = (n, channels, down, self.side, across, self.side)
        pixels = x[..., :height, :width].reshape(grid).transpose(3, 4).flatten(4)  # (..., pixels of a patch)
        order = torch.rand(n, 1, *pixels.shape[2:], generator=rng).argsort(dim=4).to(x.device)
        shuffled = pixels.gather(4, order.expand_as(pixels)).reshape(*pixels.shape[:4], self.side, self.side)
        new = x.clone()
        new[..., :height, :width] = shuffled.transpose(3, 4).reshape(n, channels, height, width)
        return torch.where(chosen.view(-1, 1, 1, 1).to(x.device), new, x), labels


def recipe() -> Pipeline:
    """IRN with a classifier trained on shuffled images.

    Paper: Kang et al., 2017, arXiv:1707.07103.
    """
    base = recipes.irn()
    return replace(base, classifier=replace(base.own_classifier, augment=PatchShuffle()))
