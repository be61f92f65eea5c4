"""Criteria that choose the threshold between object and background from maps and images, without masks.

Otsu (1979, "A threshold selection method from gray-level histograms") chooses the threshold with the largest variance
between the two classes that it separates. On class maps it has a weakness: it depends on their scale. The same maps
raised to a power, which keeps the order of their values and therefore the possible masks, get another threshold, and it
is too high for sharp maps. So a second criterion is added that does not depend on scale: the mutual information, within
each image, between being above the threshold and the colour of a cell. It is high if the threshold follows the edges of
objects. It has a weakness of its own, on images whose colours say little about objects. The two criteria agree where
both are informative, and err in different directions where one is not. The score of a threshold is the product of both,
each divided by its maximum, and the threshold with the highest score is chosen.

The threshold of refined maps is the one at which they cover as many cells as the seeds do at theirs: refinement moves
the outlines of objects to where they belong, but does not find more objects. The share of cells does not depend on the
scale of the maps either. A refiner whose seeds reach beyond their objects (:func:`deft.engine.method.covers_as_seeds`)
has its threshold chosen as that of seeds.

Confident labels need two thresholds, one on each side of the chosen one: halfway between it and Otsu's threshold of the
values on that side. Stricter labels leave too few object and background pixels for a network to be trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError
from deft.metrics import THRESHOLDS
from deft.thresholds.statistics import LEVELS, STEPS, MapStatistics

LONGER = "train the classifier for longer"
"""What to do about maps of a classifier that show nothing."""
CONFIDENT = "the thresholds of the confident labels"
"""What :func:`choose_confident` chooses, for messages."""
FLAT = 0.98
"""Thresholds with at least this share of the best score count as equally good."""

Curve = NDArray[np.float64]
"""A value at each of the thresholds 0.00, 0.01, ... 0.99, (100,)."""


@dataclass(frozen=True)
class Choice:
    """A chosen threshold, and the range of equally good ones."""

    threshold: float
    low: float
    """Lowest threshold whose score is within 2 % of the best."""
    high: float
    """Highest threshold whose score is within 2 % of the best."""
    images: int
    """Number of images with maps."""


def choose(statistics: MapStatistics) -> Choice | None:
    """The background threshold of maps, chosen without masks.

    Returns:
        The choice; None if the maps have one value everywhere, so that no threshold is better than another.
    """
    score = combined_score(statistics)
    if not score.any():
        return None
    best = _peak(score)
    flat = np.flatnonzero(score >= FLAT * score[best])
    return Choice(best / 100, float(flat[0]) / 100, float(flat[-1]) / 100, statistics.images)


def choose_refined(refined: MapStatistics, seeds: MapStatistics) -> Choice | None:
    """The background threshold of refined maps, at which they cover as many cells as their seeds at ``choose(seeds)``.

    Args:
        refined: statistics of the refined maps.
        seeds: statistics of the seeds from which they were refined.

    Returns:
        The choice, whose range corresponds to that of the seeds; None if either has one value everywhere.
    """
    first = choose(seeds)
    if first is None or not between_class_variance(refined.counts).any():
        return None
    wanted, share = coverage_curve(seeds.counts), coverage_curve(refined.counts)
    best, low, high = (
        _peak(-np.abs(share - wanted[round(100 * at)])) for at in (first.threshold, first.low, first.high)
    )
    return Choice(best / 100, min(low, best) / 100, max(high, best) / 100, refined.images)


def coverage_curve(counts: NDArray[np.int64]) -> Curve:
    """Share of the cells above each threshold, in [0, 1], from a histogram of the values k / 255, (256,)."""
    above = np.array([counts[step < STEPS].sum() for step in range(len(THRESHOLDS))], dtype=np.float64)
    share: Curve = above / max(1, counts.sum())
    return share


def needed(choice: Choice | None, what: str, images: int = 1, remedy: str = LONGER) -> Choice:
    """The choice, unless there is none.

    Args:
        choice: result of :func:`choose`.
        what: setting or threshold that it is for, for the message.
        images: number of images with maps.
        remedy: what makes better maps, for the message.

    Raises:
        InputError: there is none.
    """
    if choice is None:
        got = "maps that have one value everywhere" if images else "no image with a class"
        numbers = ", or set numbers instead of auto" if images else ""  # which are of no use without maps
        raise InputError(f"expected class maps to choose {what} from, got {got}; {remedy}{numbers}")
    return choice


def choose_confident(statistics: MapStatistics) -> tuple[float, float]:
    """Thresholds of confident labels: pixels above the first are objects, pixels below the second background.

    Raises:
        InputError: the maps have one value everywhere, or there are none.
    """
    middle = round(100 * needed(choose(statistics), CONFIDENT, statistics.images).threshold)
    level = np.arange(LEVELS + 1)
    above = between_class_variance(np.where(STEPS[level] > middle, statistics.counts, 0))
    below = between_class_variance(np.where(STEPS[level] > middle, 0, statistics.counts))
    # A side with a single value cannot be divided again: all of it is confident.
    objects = (middle + max(_peak(above), middle)) // 2 if above.any() else middle
    background = (middle + min(_peak(below), middle)) // 2 if below.any() else middle
    return objects / 100, background / 100


def between_class_variance(counts: NDArray[np.int64]) -> Curve:
    """Otsu's criterion: variance between the values above and below each threshold, as a share of the total variance.

    Args:
        counts: histogram of the values k / 255, (256,).

    Returns:
        (100,) in [0, 1]; 0 for a threshold with all values on one side.
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


def three_class_otsu(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Otsu's two thresholds between three classes, the upper one first: those with the largest between-class variance.

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


def combined_score(statistics: MapStatistics) -> Curve:
    """The criterion for seeds: the product of Otsu's criterion and the mutual information, each over its maximum."""
    spread = _scaled(between_class_variance(statistics.counts))
    # The mutual information of images of a single colour is 0; then the maps alone decide.
    return spread * _scaled(statistics.information) if statistics.information.any() else spread


def mean_criterion(statistics: MapStatistics) -> Curve:
    """A score with its maximum at the mean of all values."""
    mean = float((statistics.counts * np.arange(LEVELS + 1)).sum()) / LEVELS / max(1, statistics.counts.sum())
    near: Curve = 1 - np.abs(np.arange(len(THRESHOLDS)) / 100 - mean)
    return near


CRITERIA: Mapping[str, Callable[[MapStatistics], Curve]] = {
    "both": combined_score,
    "colours": lambda statistics: statistics.information,
    "Otsu": lambda statistics: between_class_variance(statistics.counts),
    "mean": mean_criterion,
}
"""Criteria that the study ``thresholds`` compares with ``auto``, which is ``both`` for seeds: each scores all
thresholds, higher is better."""


def best_of(name: str, statistics: MapStatistics) -> float:
    """The threshold with the highest score of a criterion in :data:`CRITERIA`."""
    return _peak(CRITERIA[name](statistics)) / 100


def _scaled(curve: Curve) -> Curve:
    highest = curve.max()
    return curve / highest if highest > 0 else curve


def _peak(curve: Curve) -> int:
    """Index of the highest value; the middle one if several tie, as in a gap of the histogram."""
    highest = curve.max()
    return int(np.median(np.flatnonzero(curve >= highest - 1e-9 * abs(highest))))
