"""Affinities of neighbouring cells from a frozen backbone, and the random walk along them.

Where the backbone has self-attention, the affinity of two cells is the attention that they pay to each other, averaged
over heads and over both directions: TokenCut (Wang et al., 2022, arXiv:2202.11539) and AFA (Ru et al., 2022,
arXiv:2203.02664) build on the same observation, that cells of one object attend to each other. TokenCut cuts a graph of
all pairs, AFA learns an affinity head from pseudo-labels; here nothing is trained. For other networks the affinity is
the cosine of features, from which the mean of the image was subtracted. Both are kept only for cells within a radius,
so that memory grows with the number of cells and not with its square. Where colours are alike too, maps are spread by
the walk of :mod:`deft.refine.random_walk`.

Shapes: features (C, h, w), affinities (D, h, w) for the D directions of :func:`deft.refine.neighborhood.directions`,
indexed by the first cell of each pair, 0 where there is no second one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deft.backbone import Look, frozen_net
from deft.backbone.attention import Attention
from deft.contracts import InputError, Sample, SeedMaps
from deft.engine.features import Features, find_features
from deft.engine.infer import device
from deft.engine.method import MethodContext
from deft.ranges import Factor, Range, Weight, check_ranges
from deft.refine.neighborhood import ShiftedGrid, directions, first_cells, second_cells
from deft.refine.random_walk import random_walk
from deft.seedmaps import from_cells, to_cells
from deft.thresholds import AUTO, Threshold, check_threshold

_ROWS = 256
"""Cells whose attention to all others is in memory at a time."""
_ERROR = 1e-4
"""Error of the walk: affinities that are stored in 16 bits have larger ones."""


@dataclass(frozen=True)
class FeatureAffinity:
    """Spread seeds along the affinities of a frozen backbone, where colours are alike too."""

    radius: Annotated[int, Range(2, 32)] = 5
    """Greatest distance of two cells, in cells of the features (exclusive); at most ``frozen.radius``."""
    beta: Factor = 4.0
    """Exponent of the affinities; larger values keep maps closer to where they are."""
    colour: Weight = 10.0
    """Standard deviation of the difference of neighbours' mean colours, in intensity levels of 0 to 255; 0 leaves
    colours out."""
    steps: Annotated[int, Range(1, 100_000)] = 256
    """Steps of the walk."""
    power: Factor = 1.5
    """Exponent of the seeds before the walk."""
    background: Threshold = AUTO
    """Threshold of the refined maps; ``auto`` chooses it from them."""
    covers_as_seeds: ClassVar[bool] = False
    """Seeds of frozen features are coarse and reach beyond their objects, which the walk takes back."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_threshold("refine.background", self.background)
        check_ranges(self)

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """The refinement of one image; nothing is trained.

        Raises:
            InputError: the recipe's backbone is trained.
        """
        backbone = context.classifier.backbone.to(device())
        frozen_net(backbone)

        def refine(sample: Sample, seeds: SeedMaps) -> SeedMaps:
            features = context.stored(sample)
            if features is None:
                features = find_features(backbone, sample.image, context.precision, affinities_of, self.radius)
            return self.spread(features, seeds, sample.image)

        return refine

    def check_radius(self, stored: int) -> None:
        """Refuse a radius above the one for which affinities are stored.

        Raises:
            InputError: it is larger.
        """
        if self.radius > stored:
            raise InputError(
                f"refine.radius={self.radius}: expected at most {stored}, which is frozen.radius, for which affinities "
                f"are stored; set refine.radius={stored}, or raise frozen.radius"
            )

    def spread(self, features: Features, seeds: SeedMaps, image: NDArray[np.uint8]) -> SeedMaps:
        """Refined maps of one image (H, W, 3), on the grid of its seeds; the largest value is 1, or 0 if all are 0."""
        maps = seeds.maps.float() ** self.power
        if not len(maps):
            return replace(seeds, maps=maps)
        affinities = self.affinities(features)
        cells = affinities.shape[1], affinities.shape[2]
        if self.colour:
            # The walk raises affinities to the power of beta. Colours count once, whatever the exponent.
            affinities = affinities * colour_affinities(image, cells, self.radius, self.colour * self.beta**0.5)
        begin = to_cells(maps, seeds.size, cells)
        pairs = [first_cells(one, way) for one, way in zip(affinities, directions(self.radius), strict=True)]
        spread = random_walk(begin, pairs, self.radius, beta=self.beta, steps=self.steps, error=_ERROR)
        fine = from_cells(spread, seeds.size)
        largest = fine.max()
        return replace(seeds, maps=(fine / torch.where(largest > 0, largest, 1)).clamp(0, 1))

    def affinities(self, features: Features) -> Tensor:
        """Affinity of every pair of cells within the radius, (D, h, w); 0 where there is no second cell."""
        if features.affinity is None:
            raise ValueError("expected features with affinities")
        radius = radius_of(len(features.affinity))
        self.check_radius(radius)
        known = {way: number for number, way in enumerate(directions(radius))}
        stored = features.affinity.float()
        return stored[[known[way] for way in directions(self.radius)]]


def affinities_of(look: Look, radius: int) -> Tensor:
    """Affinities (D, h, w) of one image: of its self-attention where there is one, else of its features."""
    if look.attention is not None:
        return attention_affinities(look.attention, radius)
    return cosine_affinities(look.similar[0].float(), radius)


def cosine_affinities(features: Tensor, radius: int) -> Tensor:
    """Cosine of the features of neighbours, from which the image's mean was subtracted; negative ones are 0.

    Args:
        features: (C, h, w).
        radius: greatest distance of a pair, in cells (exclusive).

    Returns:
        (D, h, w) in [0, 1] for the D ``directions(radius)``.
    """
    unit = F.normalize(features - features.mean(dim=(1, 2), keepdim=True), dim=0)
    found = unit.new_zeros(len(directions(radius)), *unit.shape[1:])
    for number, way in enumerate(directions(radius)):
        cosine = (first_cells(unit, way) * second_cells(unit, way)).sum(dim=0)
        first_cells(found[number], way).copy_(cosine.clamp(0, 1))
    return found


def colour_affinities(image: NDArray[np.uint8], cells: tuple[int, int], radius: int, deviation: float) -> Tensor:
    """How alike the mean colours of neighbouring cells are.

    Args:
        image: RGB (H, W, 3).
        cells: (h, w), which divide the image evenly.
        radius: greatest distance of a pair, in cells (exclusive).
        deviation: in intensity levels.

    Returns:
        (D, h, w) in [0, 1] for the D ``directions(radius)``; 0 where there is no second cell.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
    means = F.adaptive_avg_pool2d(pixels, cells) / deviation
    grid = ShiftedGrid(means, radius, fill=float("inf"))  # infinitely far from every colour
    down, right = torch.tensor(directions(radius)).T
    apart = grid.shifts[:, down, right + grid.reach] - means[:, None]
    return torch.exp(-apart.square().sum(dim=0) / 2)


def attention_affinities(attention: Attention, radius: int) -> Tensor:
    """How much neighbouring cells attend to each other, as (D, h, w) in [0, 1]; see the module for what is averaged.

    Attention is divided by the largest that its first cell pays to a neighbour, so that sharp and flat attention are
    alike. Rows of the attention are computed a few at a time: no cell meets all others in memory.

    Args:
        attention: of one image.
        radius: greatest distance of a pair, in cells (exclusive).
    """
    (height, width), query, key = attention.grid, attention.query[0].float(), attention.key[0].float()
    cells, reach = height * width, radius - 1
    first = query.shape[1] - cells  # class token and registers come first
    span = 2 * reach + 1
    near = torch.zeros(cells, span * span, device=query.device)
    down, right = (each.flatten() for each in torch.meshgrid(*[torch.arange(-reach, reach + 1)] * 2, indexing="ij"))
    for start in range(0, cells, _ROWS):
        rows = torch.arange(start, min(start + _ROWS, cells), device=query.device)
        logits = query[:, first + rows] @ key.transpose(1, 2) * attention.scale
        paid = logits.softmax(dim=-1).mean(dim=0)[:, first:]
        y = rows[:, None] // width + down.to(rows)
        x = rows[:, None] % width + right.to(rows)
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        at = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long()
        near[rows] = paid.gather(1, at) * inside
    own = reach * span + reach
    near[:, own] = 0
    near = near / near.amax(dim=1, keepdim=True).clamp(min=1e-12)
    square = near.view(height, width, span, span)
    found = near.new_zeros(len(directions(radius)), height, width)
    for number, way in enumerate(directions(radius)):
        there = first_cells(square[:, :, reach + way[0], reach + way[1]], way)
        back = second_cells(square[:, :, reach - way[0], reach - way[1]], way)
        first_cells(found[number], way).copy_((there + back) / 2)
    return found


def radius_of(count: int) -> int:
    """The radius that has so many directions.

    Raises:
        ValueError: there is none.
    """
    for radius in range(2, 33):
        if len(directions(radius)) == count:
            return radius
    raise ValueError(f"no radius has {count} directions")
