"""How class-free masks vote for classes: the rules of FMA-WSSS and of SEPL.

A mask knows where an object or a part of it ends, and not what it is; class maps know roughly what is where. Each rule
is a small dataclass that gives each mask a class, or none, from the class maps below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from deft.engine.class_free import Bools, Floats, Segments
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

    A mask that was prompted for a class votes for it alone, and counts as background only where all maps say so; one
    without any response of its class is left out.

    Differs from the published code: that divides after subtracting the smallest mean, with which an image of one mask
    is all background; it calls pixels without a mask background; and it paints whole objects, which its mask generator
    tells from parts, before it orders by certainty, where masks of other tools have no such level.
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
        may = np.array([[only in (None, place) for place in range(len(maps))] for only in allowed], dtype=np.bool_)
        may = may.reshape(means.shape)
        largest = np.where(may, means, 0).max(axis=0, initial=0)
        scaled = np.clip(means / np.where(largest > 0, largest, 1), 0, 1)
        votes, background = np.where(may, scaled, 0), self.background(scaled.max(axis=1, initial=0))
        strongest = votes.max(axis=1, initial=0)
        voting = (area > 0) & (may.all(axis=1) | (strongest > 0))
        order = np.argsort(np.maximum(strongest, background), kind="stable")
        pixels = maps.reshape(len(maps), -1).T
        found = _shares(pixels, self.background(pixels.max(axis=1, initial=0))).T.reshape(maps.shape)
        segments.paint(found, _shares(votes, background), [int(index) for index in order if voting[index]])
        return found

    def background(self, largest: Floats) -> Floats:
        """Score of the background, from the largest score of a class."""
        score: Floats = np.clip(1 - largest, 0, 1) ** self.power
        return score


def _shares(scores: Floats, background: Floats) -> Floats:
    """``class / (largest class + background)`` of scores (n, P) and (n,)."""
    whole = scores.max(axis=1, initial=0) + background
    shares: Floats = scores / np.where(whole > 0, whole, 1)[:, None]
    return shares


@dataclass(frozen=True)
class OverlapVote:
    """Masks that lie within a class's pixels, or cover most of them, become the class (SEPL, arXiv:2305.05803).

    The class of each pixel is decided by a threshold first. In the order of the classes, a mask is taken if more than
    ``inside`` of it are pixels of the class, or if it has at least ``covered`` of the class's pixels; later classes
    skip masks that are taken, and where masks overlap, the later class wins. Pixels of a class outside all masks that
    were not taken before its turn keep it. Refined maps are 1 and 0.
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
        common, area = segments.sums(planes.astype(np.float64))
        size = planes.sum(axis=(1, 2))
        taken = np.zeros(len(area), dtype=np.bool_)
        found = np.zeros_like(maps)
        for place in range(len(maps)):
            free = np.array([only in (None, place) for only in allowed], dtype=np.bool_) & ~taken & (area > 0)
            within = common[:, place] > self.inside * area
            most = (common[:, place] >= self.covered * size[place]) & (size[place] > 0)
            chosen = free & (within | most)
            taken |= chosen
            own = np.eye(1, len(maps), place)
            segments.paint(found, np.repeat(own, len(area), axis=0), _places(chosen))
            outside = np.ones((1, *maps.shape[1:]))
            segments.paint(outside, np.zeros((len(area), 1)), _places(free))
            found[:, planes[place] & (outside[0] > 0)] = own.T
        return found


def _places(chosen: Bools) -> list[int]:
    return [int(index) for index in np.flatnonzero(chosen)]
