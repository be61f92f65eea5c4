"""From maps to labels: maps at image resolution, masks, and the confident labels on which IRN is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deft.contracts import BACKGROUND, IGNORE, InputError, SeedMaps
from deft.refine.crf import DenseCrf, dense_crf, unary_from_labels
from deft.thresholds import AUTO, MapStatistics, Threshold, check_threshold, choose_confident, number


def upsample_seeds(seeds: SeedMaps, stride: int = 4) -> Tensor:
    """Maps of every pixel: cell i of the grid lies on pixel ``i * stride``, bilinear between, constant beyond the last.

    Args:
        seeds: maps (P, h, w) of an image (H, W), h = (H - 1) // stride + 1, likewise w.
        stride: pixels from cell to cell.

    Returns:
        float32 (P, H, W), in the range of the maps.

    Raises:
        ValueError: the grid is not that of the stride.
    """
    height, width = seeds.size
    rows, columns = (height - 1) // stride, (width - 1) // stride
    if seeds.maps.ndim != 3 or seeds.maps.shape[1:] != (rows + 1, columns + 1):
        raise ValueError(
            f"seeds of an image of {height} x {width} at stride {stride} must be (P, {rows + 1}, {columns + 1}), "
            f"got {tuple(seeds.maps.shape)}"
        )
    if len(seeds.maps) == 0:
        return seeds.maps.new_zeros(0, height, width)
    fine = F.interpolate(
        seeds.maps[None].float(), size=(rows * stride + 1, columns * stride + 1), mode="bilinear", align_corners=True
    )
    beyond = (0, width - fine.shape[-1], 0, height - fine.shape[-2])
    return F.pad(fine, beyond, mode="replicate")[0]


def threshold(maps: Tensor, classes: Sequence[int], background: float) -> NDArray[np.uint8]:
    """Mask of the strongest class at each pixel, background where no map is above ``background``.

    Args:
        maps: maps in [0, 1] of the classes present, (P, H, W).
        classes: the P class indices, 0-based without background.
        background: the constant score of the background.

    Returns:
        Mask (H, W): 0 background, k + 1 for class k.
    """
    return mask_of_places(_strongest(maps, background), classes)


@dataclass(frozen=True)
class ConfidentLabels:
    """Confident labels of IRN (Ahn et al., 2019, arXiv:1904.05044): objects, background, and 255 for other pixels.

    A pixel is labelled as an object if the CRF assigns it a class with a high background score, and as background if
    the CRF assigns it to the background with a low background score. Called with an image and its seeds.
    """

    fg: Threshold = AUTO
    """Background score that confident objects exceed (IRN 0.30); ``auto`` chooses it from the seeds."""
    bg: Threshold = AUTO
    """Background score that no class exceeds on confident background (IRN 0.05); ``auto`` chooses it from the seeds."""
    gt_prob: float = 0.7
    """Probability that the CRF assigns to its initial labels, in (0, 1)."""
    crf: DenseCrf = field(default_factory=DenseCrf)
    """The CRF."""
    stride: int = 4
    """Stride of the seeds, in pixels."""

    def __post_init__(self) -> None:
        """Refuse thresholds outside the sweep, and a background threshold above that of objects."""
        check_threshold("labels.fg", self.fg)
        check_threshold("labels.bg", self.bg)
        if self.fg != AUTO and self.bg != AUTO and self.bg > self.fg:
            raise InputError(
                f"expected labels.bg of at most labels.fg, got {self.bg} and {self.fg}: pixels below the first are "
                "confident background, pixels above the second confident objects"
            )

    @property
    def open(self) -> bool:
        """Whether a threshold is ``auto`` and has not been chosen yet."""
        return AUTO in (self.fg, self.bg)

    def settled(self, statistics: MapStatistics) -> ConfidentLabels:
        """The same settings with ``auto`` replaced by thresholds chosen from statistics of the seeds.

        Raises:
            InputError: the seeds have one value everywhere.
        """
        if not self.open:
            return self
        sure, background = choose_confident(statistics)
        fg = sure if self.fg == AUTO else number(self.fg)
        bg = background if self.bg == AUTO else number(self.bg)
        # A threshold given as a number is kept; a chosen one is moved if the two would be in the wrong order.
        return replace(self, fg=max(fg, bg), bg=bg) if self.fg == AUTO else replace(self, fg=fg, bg=min(bg, fg))

    def __call__(self, image: NDArray[np.uint8], seeds: SeedMaps) -> NDArray[np.uint8]:
        """Mask (H, W) of an RGB image (H, W, 3): 0 background, k + 1 for class k, 255 not confident."""
        if not seeds.classes:
            return np.full(seeds.size, BACKGROUND, dtype=np.uint8)
        maps = upsample_seeds(seeds, self.stride)
        chosen = torch.stack([_strongest(maps, number(self.fg)), _strongest(maps, number(self.bg))])
        unary = unary_from_labels(chosen, len(seeds.classes) + 1, self.gt_prob)
        sure, possible = dense_crf(unary, image, self.crf).argmax(dim=1)
        mask = mask_of_places(sure, seeds.classes)
        mask[(sure == 0).cpu().numpy() & (possible != 0).cpu().numpy()] = IGNORE
        return mask


def _strongest(maps: Tensor, background: float) -> Tensor:
    """int64 (H, W): 0 where no map is above ``background``, else 1 + the index of the largest of (P, H, W)."""
    if len(maps) == 0:
        return torch.zeros(maps.shape[1:], dtype=torch.int64, device=maps.device)
    value, place = maps.max(dim=0)
    return torch.where(value > background, place + 1, 0)


def mask_of_places(chosen: Tensor, classes: Sequence[int]) -> NDArray[np.uint8]:
    """Mask (H, W) of the choice at each pixel, integer (H, W): 0 for background, p + 1 for the p-th of ``classes``."""
    values = np.array([BACKGROUND, *(index + 1 for index in classes)], dtype=np.uint8)
    mask: NDArray[np.uint8] = values[chosen.cpu().numpy()]
    return mask
