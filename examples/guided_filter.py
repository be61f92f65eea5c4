"""A custom refiner in one file: the guided filter (He, Sun and Tang, ECCV 2010, doi:10.1007/978-3-642-15549-9_1).

    deft run examples/guided_filter.py --data folder:PHOTOS --out runs/guided --set refine.radius=6

In a window around each cell, a seed map is approximated by the linear function of the grey value that fits it best: it
becomes smooth where the photograph is smooth, and gets edges where the photograph has edges. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from deft import MethodContext, Pipeline, Sample, SeedMaps, recipes


@dataclass(frozen=True)
class GuidedFilter:
    """Settings; fields of a frozen dataclass appear on the command line, in the run's record and on its page."""

    radius: int = 4
    """Half the side of the window, in cells of the seeds' grid."""
    softness: float = 1e-3
    """Variance of grey values (0 to 1) below which a window counts as flat."""
    background: float = 0.25
    """Threshold at which the refined maps become pseudo-masks; every refiner has one."""

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Called once, after the seeds are made; a method that trains would do so here."""
        return self.refine

    def refine(self, sample: Sample, seeds: SeedMaps) -> SeedMaps:
        """Called for each image, from several threads: maps (P, h, w) in [0, 1] to maps on the same grid."""
        if not seeds.classes:
            return seeds
        grey = torch.from_numpy(sample.image).float().mean(dim=2)[None, None] / 255
        guide = F.interpolate(grey, size=seeds.maps.shape[1:], mode="area")
        smooth = self.filter(guide, seeds.maps[:, None].float())[:, 0].clamp(0, 1)
        return replace(seeds, maps=smooth / smooth.amax(dim=(1, 2), keepdim=True).clamp(min=1e-5))

    def filter(self, guide: Tensor, maps: Tensor) -> Tensor:
        """The filter; guide (1, 1, h, w), maps (P, 1, h, w)."""
        mean_guide, mean_maps = self.mean(guide), self.mean(maps)
        variance = self.mean(guide * guide) - mean_guide**2
        slope = (self.mean(guide * maps) - mean_guide * mean_maps) / (variance + self.softness)
        offset = mean_maps - slope * mean_guide
        return self.mean(slope) * guide + self.mean(offset)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over the window around each cell, clipped at the border."""
        return F.avg_pool2d(x, 2 * self.radius + 1, stride=1, padding=self.radius, count_include_pad=False)


def recipe() -> Pipeline:
    """Plain CAM, refined by the guided filter.

    Paper: He, Sun and Tang, 2010, doi:10.1007/978-3-642-15549-9_1.
    """
    return replace(recipes.cam(), refine=GuidedFilter())
