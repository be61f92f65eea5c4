"""From maps to the confident labels on which IRN is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from deft.contracts import BACKGROUND, IGNORE, InputError, SeedMaps
from deft.ranges import Range, check_ranges
from deft.refine.crf import DenseCrf, dense_crf, unary_from_labels
from deft.seedmaps import STRIDE, mask_values, to_mask, upsample
from deft.thresholds import AUTO, MapStatistics, Threshold, check_threshold, choose_confident, number


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
    gt_prob: Annotated[float, Range(0, 1, above=True, below=True)] = 0.7
    """Probability that the CRF assigns to its initial labels, in (0, 1)."""
    crf: DenseCrf = field(default_factory=DenseCrf)
    """The CRF."""
    stride: Annotated[int, Range(1, 64)] = STRIDE
    """Stride of the seeds, in pixels."""

    def __post_init__(self) -> None:
        """Refuse thresholds outside the sweep, and a background threshold above that of objects."""
        check_ranges(self)
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
        maps = upsample(seeds, self.stride)
        places = range(len(seeds.classes))  # 0 background, p + 1 for the p-th class, as the CRF numbers its labels
        chosen = np.stack([to_mask(maps, places, number(background)) for background in (self.fg, self.bg)])
        unary = unary_from_labels(torch.from_numpy(chosen).to(maps.device), len(seeds.classes) + 1, self.gt_prob)
        sure, possible = dense_crf(unary, image, self.crf).argmax(dim=1)
        mask: NDArray[np.uint8] = mask_values(seeds.classes)[sure.cpu().numpy()]
        mask[(sure == 0).cpu().numpy() & (possible != 0).cpu().numpy()] = IGNORE
        return mask
