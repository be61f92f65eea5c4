"""Thresholds that part object and background best, as far as maps and photographs tell.

Otsu (1979, "A threshold selection method from gray-level histograms") cuts a histogram where the variance between the
two sides is largest. On class maps it has a weakness: it depends on the scale of the maps. The same maps raised to a
power, which changes no order and so no mask, get another threshold, and it is too high for maps that are sharp. So a
second witness is asked, which knows nothing of scale: the photograph. Where a threshold cuts along the edges of
things, knowing the colour of a cell tells on which side it is; the mutual information of side and colour, within each
image, measures it. It has a weakness of its own, on images whose colours say little about objects. The two agree where
both can see, and err in different directions where one cannot. The score of a threshold is their product, each as a
share of the largest it reaches, and the threshold with the highest score is chosen.

Refined maps are cut where they leave as many cells to the objects as the seeds do at their own threshold: refinement
moves the outlines of objects to where they belong, but finds no more of them. The share of cells does not depend on the
scale of the maps either.

Confident labels need two thresholds, one on each side of the chosen one: the middle between it and Otsu's threshold of
the values on that side. Stricter labels leave too little of objects and background to learn boundaries from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError
from deft.metrics import THRESHOLDS
from deft.thresholds.statistics import LEVELS, STEPS, MapStatistics

FLAT = 0.98
"""Thresholds whose score is at least this share of the best count as equally good."""

Curve = NDArray[np.float64]
"""A value at each of the thresholds 0.00, 0.01, ... 0.99, (100,)."""


@dataclass(frozen=True)
class Choice:
    """A threshold and how sharply it was chosen."""

    threshold: float
    low: float
    """Least threshold whose score is within 2 % of the best."""
    high: float
    """Greatest such threshold."""
    images: int
    """Images whose maps were looked at."""


def choose(statistics: MapStatistics) -> Choice | None:
    """The background threshold of maps, chosen without masks.

    Returns:
        The choice; None where the maps have one value everywhere, so that no threshold is better than another.
    """
    score = product(statistics)
    if not score.any():
        return None
    best = _peak(score)
    flat = np.flatnonzero(score >= FLAT * score[best])
    return Choice(best / 100, float(flat[0]) / 100, float(flat[-1]) / 100, statistics.images)


def choose_refined(refined: MapStatistics, seeds: MapStatistics) -> Choice | None:
    """The background threshold of refined maps: with it they cover as many cells as their seeds at ``choose(seeds)``.

    Args:
        refined: statistics of the refined maps.
        seeds: of the seeds that they were refined from.

    Returns:
        The choice, its range being where the seeds' equally good thresholds lead; None where either has one value
        everywhere.
    """
    first = choose(seeds)
    if first is None or not between(refined.counts).any():
        return None
    wanted, share = covered(seeds.counts), covered(refined.counts)
    best, low, high = (
        _peak(-np.abs(share - wanted[round(100 * at)])) for at in (first.threshold, first.low, first.high)
    )
    return Choice(best / 100, min(low, best) / 100, max(high, best) / 100, refined.images)


def covered(counts: NDArray[np.int64]) -> Curve:
    """Share of the cells above each threshold, in [0, 1], of a histogram of the values k / 255, (256,)."""
    above = np.array([counts[step < STEPS].sum() for step in range(len(THRESHOLDS))], dtype=np.float64)
    share: Curve = above / max(1, counts.sum())
    return share


def needed(choice: Choice | None, what: str) -> Choice:
    """A choice that cannot be done without.

    Raises:
        InputError: there is none.
    """
    if choice is None:
        raise InputError(
            f"expected class maps to choose {what} from, got maps that have one value everywhere; train the classifier "
            "for longer, or give numbers in the place of auto"
        )
    return choice


def choose_confident(statistics: MapStatistics) -> tuple[float, float]:
    """Thresholds of confident labels: above the first an object is certain, below the second the background is.

    Raises:
        InputError: the maps have one value everywhere.
    """
    middle = round(100 * needed(choose(statistics), "the thresholds of the confident labels").threshold)
    level = np.arange(LEVELS + 1)
    above = between(np.where(STEPS[level] > middle, statistics.counts, 0))
    below = between(np.where(STEPS[level] > middle, 0, statistics.counts))
    # A side with a single value cannot be cut again: what is on it is certain.
    sure = (middle + max(_peak(above), middle)) // 2 if above.any() else middle
    background = (middle + min(_peak(below), middle)) // 2 if below.any() else middle
    return sure / 100, background / 100


def between(counts: NDArray[np.int64]) -> Curve:
    """Otsu's share of the variance that lies between the two sides, in [0, 1]; 0 where one side is empty.

    Args:
        counts: histogram of the values k / 255, (256,).
    """
    values = np.arange(LEVELS + 1) / LEVELS
    size, total = counts.sum(), float((counts * values).sum())
    spread = float((counts * values**2).sum()) - total**2 / max(1, size)
    if spread <= 1e-12:
        return np.zeros(len(THRESHOLDS))
    upper = np.array([counts[step < STEPS].sum() for step in range(len(THRESHOLDS))], dtype=np.float64)
    upper_sum = np.array([(counts * values)[step < STEPS].sum() for step in range(len(THRESHOLDS))])
    lower = size - upper
    share = np.zeros(len(THRESHOLDS))
    both = (upper > 0) & (lower > 0)
    gap = upper_sum[both] - total * upper[both] / size
    share[both] = gap**2 * size / (upper[both] * lower[both]) / spread
    return share


def three_classes(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Otsu's two thresholds between three classes, the upper one first: where most variance lies between the classes.

    Args:
        counts: histogram of the values k / 255, (256,).
    """
    values = np.arange(LEVELS + 1) / LEVELS
    steps = np.arange(len(THRESHOLDS))
    size = np.array([0, *(counts[step >= STEPS].sum() for step in steps), counts.sum()], dtype=np.float64)
    total = np.array([0, *((counts * values)[step >= STEPS].sum() for step in steps), (counts * values).sum()])
    best, found = -1.0, (0, 0)
    for low in steps:
        for high in steps[low + 1 :]:
            edges = [0, low + 1, high + 1, len(size) - 1]
            parts, sums = np.diff(size[edges]), np.diff(total[edges])
            score = float((sums[parts > 0] ** 2 / parts[parts > 0]).sum())
            if score > best + 1e-9:
                best, found = score, (int(high), int(low))
    return found[0] / 100, found[1] / 100


def product(statistics: MapStatistics) -> Curve:
    """The criterion for seeds: both witnesses, each as a share of the largest value it reaches, multiplied."""
    spread = _scaled(between(statistics.counts))
    # Photographs of one colour each say nothing; the maps alone decide then.
    return spread * _scaled(statistics.information) if statistics.information.any() else spread


def at_mean(statistics: MapStatistics) -> Curve:
    """Peaks at the mean of all values."""
    mean = float((statistics.counts * np.arange(LEVELS + 1)).sum()) / LEVELS / max(1, statistics.counts.sum())
    near: Curve = 1 - np.abs(np.arange(len(THRESHOLDS)) / 100 - mean)
    return near


CRITERIA: Mapping[str, Callable[[MapStatistics], Curve]] = {
    "both": product,
    "colours": lambda statistics: statistics.information,
    "Otsu": lambda statistics: between(statistics.counts),
    "mean": at_mean,
}
"""Scores of thresholds, the higher the better, that the study ``thresholds`` compares with ``auto``, which is ``both``
for seeds."""


def best_of(name: str, statistics: MapStatistics) -> float:
    """The threshold that a criterion prefers."""
    return _peak(CRITERIA[name](statistics)) / 100


def _scaled(curve: Curve) -> Curve:
    highest = curve.max()
    return curve / highest if highest > 0 else curve


def _peak(curve: Curve) -> int:
    """Step of the highest value; the middle one of equals, since a gap in a histogram has no better side."""
    highest = curve.max()
    return int(np.median(np.flatnonzero(curve >= highest - 1e-9 * abs(highest))))
