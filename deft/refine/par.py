"""PAR: the pixel-adaptive refinement of AFA (Ru et al., CVPR 2022, arXiv:2203.02664). Nothing is trained.

As PAMR (:mod:`deft.refine.pamr`), with weights of another shape: a softmax of ``-(|I_i - I_j| / (0.3 s))^2``, averaged
over the three colours, plus 0.01 times a softmax of ``-(d_ij / (0.3 s_d))^2``, in which d are the distances of the
neighbours and s, s_d standard deviations over them.

Differs from the authors' code: their weights add up to 1.01, so that all values grow by a tenth in ten iterations. It
does not matter for the strongest class of a pixel. Here they are divided by their sum, so that maps stay in [0, 1] and
a threshold keeps its meaning. Theirs refines masks during the training of a network; here the maps of each class are
refined, and the background is their threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from deft.contracts import Sample, SeedMaps
from deft.engine.method import MethodContext
from deft.ranges import Factor, Range, Weight, check_ranges
from deft.refine.pixel_adaptive import AROUND, neighbours, refined
from deft.thresholds import AUTO, Threshold, check_threshold


@dataclass(frozen=True)
class Par:
    """Settings of PAR; a refiner."""

    iterations: Annotated[int, Range(0, 10_000)] = 10
    """Number of means (AFA and ToCo; WeCLIP 20)."""
    distances: Annotated[tuple[int, ...], Range(1, 1000)] = (1, 2, 4, 8, 12, 24)
    """Distances of the 8 neighbours, in cells of the grid."""
    softness: Factor = 0.3
    """Difference of colours that lowers a weight by a factor of e, in standard deviations."""
    spatial_softness: Factor = 0.3
    """Distance that lowers a weight by a factor of e, in standard deviations of the distances."""
    spatial_weight: Weight = 0.01
    """Weight of distance against colour."""
    stride: Literal[1, 2, 4] = 2
    """Pixels per cell of the grid on which maps are refined; 2 as in ToCo. Finer ones take four times as long each, and
    their neighbours are half as far away."""
    background: Threshold = AUTO
    """Background threshold of the refined maps; ``auto`` chooses it from them."""
    covers_as_seeds: ClassVar[bool] = False
    """Class maps reach beyond their objects, and means over similar colours take that back."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_threshold("refine.background", self.background)
        check_ranges(self)

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Return the refinement of one image."""

        def refine(sample: Sample, seeds: SeedMaps) -> SeedMaps:
            return refined(sample.image, seeds, self.weights, self.distances, self.iterations, self.stride)

        return refine

    def weights(self, image: Tensor) -> Tensor:
        """Weight of each of the 8 D neighbours, (8 D, h, w), of sum 1, for an image (3, h, w) in [0, 1]."""
        total = torch.zeros(())
        for colour in image[:, None]:  # one after the other, for less memory
            around = torch.cat(list(neighbours(colour, self.distances)))
            scale = self.softness * (around.std(dim=0) + 1e-8)
            total = around.sub_(colour).div_(scale).square_().add_(total.to(image))
        by_colour = total.div_(-len(image)).softmax(dim=0)
        return (by_colour + self.spatial_weight * self.by_distance(image.device)) / (1 + self.spatial_weight)

    def by_distance(self, device: torch.device) -> Tensor:
        """Weight of each of the 8 D neighbours by its distance alone, (8 D, 1, 1), of sum 1."""
        reach = [distance * math.hypot(down, right) for distance in self.distances for down, right in AROUND]
        far = torch.tensor(reach, device=device).view(-1, 1, 1)
        return (far / (far.std() + 1e-8) / self.spatial_softness).square().neg().softmax(dim=0)
