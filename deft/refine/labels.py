"""From maps to confident labels, which IRN learns from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from deft.contracts import BACKGROUND, IGNORE, InputError, SeedMaps
from deft.refine.crf import DenseCrf, dense_crf, unary_from_labels
from deft.seedmaps import STRIDE, mask_values, to_mask, upsample
from deft.thresholds import AUTO, MapStatistics, Threshold, check_threshold, choose_confident, number


@dataclass(frozen=True)
class ConfidentLabels:
    """Masks of what is sure (IRN, Ahn et al., 2019, arXiv:1904.05044): objects, background, and 255 for the rest.

    A pixel is an object where the CRF keeps its class against a high background score, and background where the CRF
    keeps the background against a low one. Called with an image and its seeds.
    """

    fg: Threshold = AUTO
    """Background score that a sure object has to beat (IRN 0.30); ``auto`` chooses it from the seeds."""
    bg: Threshold = AUTO
    """Background score that beats every class where the background is sure (IRN 0.05); likewise."""
    gt_prob: float = 0.7
    """Trust of the CRF in the labels that it starts from, in (0, 1)."""
    crf: DenseCrf = field(default_factory=DenseCrf)
    """The CRF."""
    stride: int = STRIDE
    """Stride of the seeds, in pixels."""

    def __post_init__(self) -> None:
        """Refuse thresholds that no map can be cut at, and a background above the objects."""
        check_threshold("labels.fg", self.fg)
        check_threshold("labels.bg", self.bg)
        if self.fg != AUTO and self.bg != AUTO and self.bg > self.fg:
            raise InputError(
                f"labels.bg must not be above labels.fg, got {self.bg} and {self.fg}: what is below the first is "
                "background for certain, what is above the second an object"
            )

    @property
    def open(self) -> bool:
        """Whether a threshold is still to be chosen."""
        return AUTO in (self.fg, self.bg)

    def settled(self, statistics: MapStatistics) -> ConfidentLabels:
        """The same with numbers in the place of ``auto``, chosen from statistics of the seeds.

        Raises:
            InputError: the seeds have one value everywhere.
        """
        if not self.open:
            return self
        sure, background = choose_confident(statistics)
        fg = sure if self.fg == AUTO else number(self.fg)
        bg = background if self.bg == AUTO else number(self.bg)
        # A number that was given stands; the other one gives way where the two would cross.
        return replace(self, fg=max(fg, bg), bg=bg) if self.fg == AUTO else replace(self, fg=fg, bg=min(bg, fg))

    def __call__(self, image: NDArray[np.uint8], seeds: SeedMaps) -> NDArray[np.uint8]:
        """Mask (H, W) of an RGB image (H, W, 3): 0 background, k + 1 for class k, 255 unsure."""
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
