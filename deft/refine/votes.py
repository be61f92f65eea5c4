"""How class-free masks vote for classes: the rules of FMA-WSSS and of SEPL.

A mask knows where an object or a part of it ends, and not what it is; class maps know roughly what is where. Each rule
is a small dataclass that gives each mask a class, or none, from the class maps below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from deft.engine.class_free import Floats, Segments
from deft.ranges import Factor, Share, check_ranges
from deft.thresholds import AUTO, Threshold, check_threshold, number


@runtime_checkable
class Rule(Protocol):
    """A rule by which masks vote; a frozen dataclass."""

    def __call__(self, maps: Floats, segments: Segments, allowed: Sequence[int | None]) -> Floats:
        """Refined maps of one image.

        Args:
            maps: class maps in [0, 1], (P, H, W).
            segments: its M masks.
            allowed: for each mask the only one of the P classes that it may get, None for any, -1 for none; (M,).

        Returns:
            (P, H, W) in [0, 1].
        """


@dataclass(frozen=True)
class MeanVote:
    """Each mask gets the class whose map is strongest on average (FMA-WSSS, arXiv:2312.03585).

    The mean of a class over a mask is divided by the largest such mean in the image. The background of a mask is (1 -
    largest class) to a power; masks are painted one over the other, those that are surest of their class or of the
    background last. Pixels without a mask keep their maps. So that a threshold can be chosen, a refined map is
    ``class / (largest class + background)``: above 0.5 where the largest class exceeds the background, which is the
    rule's argmax.

    Differs from the published code: it paints whole objects, which its mask generator tells from parts, before it
    orders by certainty; masks of other tools have no such level.
    """

    power: Factor = 0.7
    """Exponent of the background; below 1 it is larger."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    def __call__(self, maps: Floats, segments: Segments, allowed: Sequence[int | None]) -> Floats:
        """As :meth:`Rule.__call__`."""
        sums, area = segments.sums(maps)
        means = sums / np.maximum(area, 1)[:, None]
        for index, only in enumerate(allowed):
            if only is not None:
                means[index, np.arange(len(maps)) != only] = 0
        largest = means.max(axis=0, initial=0)
        votes = means / np.where(largest > 0, largest, 1)
        background = self.background(votes.max(axis=1, initial=0))
        certainty = np.maximum(votes.max(axis=1, initial=0), background)
        found = self._shares(maps.reshape(len(maps), -1).T).T.reshape(maps.shape)
        order = [int(index) for index in np.argsort(certainty, kind="stable") if area[index]]
        segments.paint(found, self._shares(votes), order)
        return found

    def background(self, largest: Floats) -> Floats:
        """Score of the background, from the largest score of a class."""
        score: Floats = np.clip(1 - largest, 0, 1) ** self.power
        return score

    def _shares(self, scores: Floats) -> Floats:
        """``class / (largest class + background)`` of scores (n, P)."""
        largest = scores.max(axis=1, initial=0)
        shares: Floats = scores / (largest + self.background(largest))[:, None]
        return shares


@dataclass(frozen=True)
class OverlapVote:
    """Masks that lie within a class's pixels, or cover most of them, become the class (SEPL, arXiv:2305.05803).

    The class of each pixel is decided by a threshold first. In the order of the classes, a mask is taken if more than
    ``inside`` of it are pixels of the class, or if it has at least ``covered`` of the class's pixels; later classes
    skip masks that are taken, and where masks overlap, the later class wins. Pixels of a class that no mask covers keep
    it. Refined maps are 1 and 0.
    """

    inside: Share = 0.5
    """A mask is taken if more than this share of it is of the class."""
    covered: Share = 0.85
    """A mask is taken if it has at least this share of the class's pixels."""
    threshold: Threshold = AUTO
    """Background threshold of the maps; ``auto`` chooses it from the seeds."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)
        check_threshold("refine.rule.threshold", self.threshold)

    def __call__(self, maps: Floats, segments: Segments, allowed: Sequence[int | None]) -> Floats:
        """As :meth:`Rule.__call__`."""
        strongest = maps.max(axis=0, initial=0) > number(self.threshold)
        planes = (np.arange(len(maps))[:, None, None] == maps.argmax(axis=0)) & strongest
        ones = np.ones((1, *maps.shape[1:]))
        common, area = segments.sums(planes.astype(np.float64))
        size = planes.sum(axis=(1, 2))
        uncovered = ones.copy()
        segments.paint(uncovered, np.zeros((len(area), 1)), range(len(area)))
        taken = np.zeros(len(area), dtype=np.bool_)
        found = np.zeros_like(maps)
        for place in range(len(maps)):
            free = np.array([only in (None, place) for only in allowed], dtype=np.bool_) & ~taken & (area > 0)
            within = common[:, place] > self.inside * area
            most = (common[:, place] >= self.covered * size[place]) & (size[place] > 0)
            chosen = np.flatnonzero(free & (within | most))
            taken[chosen] = True
            values = np.zeros((len(area), len(maps)))
            values[:, place] = 1
            segments.paint(found, values, [int(index) for index in chosen])
        found[planes & (uncovered[0] > 0)] = 1
        return found
