"""PAMR: pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020, arXiv:2005.08104). Nothing is trained.

A value becomes a mean of its neighbours', which weigh the more the nearer their colours are: the weights are a softmax
of ``-|I_i - I_j| / (0.1 s)``, averaged over the three colours, with s the standard deviation of a colour around the
pixel. The authors refine the masks of a network during its training; here the maps of each class are refined.

A threshold of the maps is a background map of the same value everywhere. The mean leaves it as it is, so that it needs
no map of its own, as it does in the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from deft.contracts import Sample, SeedMaps
from deft.engine.method import MethodContext
from deft.ranges import Factor, Range, check_ranges
from deft.refine.pixel_adaptive import neighbours, refined
from deft.thresholds import AUTO, Threshold, check_threshold


@dataclass(frozen=True)
class Pamr:
    """Settings of PAMR; a refiner."""

    iterations: Annotated[int, Range(0, 10_000)] = 10
    """Number of means."""
    distances: Annotated[tuple[int, ...], Range(1, 1000)] = (1, 2, 4, 8, 12, 24)
    """Distances of the 8 neighbours, in cells of the grid."""
    softness: Factor = 0.1
    """Difference of colours that lowers a weight by a factor of e, in standard deviations."""
    stride: Literal[1, 2, 4] = 2
    """Pixels per cell of the grid on which maps are refined. Finer ones take four times as long each, and their
    neighbours are half as far away."""
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
        """Weight of each of the 8 D neighbours, (8 D, h, w), of sum 1, for an image (3, h, w) in [0, 1].

        The standard deviation is over the neighbours and, once for each distance, the pixel itself.
        """
        total = torch.zeros(())
        for colour in image[:, None]:  # one after the other, for less memory
            around = torch.cat(list(neighbours(colour, self.distances)))
            deviation = torch.cat([around, colour.expand(len(self.distances), -1, -1)]).std(dim=0)
            total = around.sub_(colour).abs_().div_(self.softness * deviation + 1e-8).add_(total.to(image))
        return total.div_(-len(image)).softmax(dim=0)
