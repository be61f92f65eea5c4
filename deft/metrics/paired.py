"""Significance of the difference between two systems, from their paired results on the same images and random seeds.

A difference of mIoU varies with the images that happen to be in the dataset and with the random seed of the training.
The bootstrap (Efron, 1979, "Bootstrap methods: another look at the jackknife") draws both again, with replacement: in
each draw the same images and the same seeds count for both systems, so that what is hard for both cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft.contracts import BACKGROUND, IGNORE

Counts = NDArray[np.int64]
"""Pixels of the intersection and of the union of each class, background first, (..., K + 1, 2)."""


@dataclass(frozen=True)
class PairedDifference:
    """Mean IoU of a system minus that of another, in [-1, 1]."""

    mean: float
    """Mean over the seeds, on all images."""
    low: float
    """Lower end of the central 95 % of the draws."""
    high: float
    """Upper end."""
    above: float
    """Share of the draws in which the difference is positive."""

    @property
    def certain(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def image_counts(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], num_classes: int) -> Counts:
    """Intersection and union of each class in one image, (K + 1, 2).

    Unlike a ratio, both can be summed over images.

    Args:
        prediction: uint8 (H, W); 255 counts as background.
        truth: ground truth, uint8 (H, W); 255 is ignored.
        num_classes: K, without background.
    """
    kept = truth != IGNORE
    expected, found = truth[kept], prediction[kept]
    found = np.where(found == IGNORE, BACKGROUND, found)
    hits = np.bincount(expected[expected == found], minlength=num_classes + 1)
    either = np.bincount(expected, minlength=num_classes + 1) + np.bincount(found, minlength=num_classes + 1)
    counts: Counts = np.stack([hits, either - hits], axis=1).astype(np.int64)
    return counts


def paired_bootstrap(first: Counts, second: Counts, draws: int = 2000, seed: int = 0) -> PairedDifference:
    """Difference of mIoU between two systems, and how far it depends on the images and the random seeds.

    Args:
        first: counts of a system, (S, N, K + 1, 2), for S seeds and N images.
        second: counts of another system on the same images, with the same seeds in the same order.
        draws: number of draws; each draws N images and S seeds with replacement.
        seed: random seed of the draws.

    Raises:
        ValueError: the counts differ in shape, or there are none.
    """
    if first.shape != second.shape or first.ndim != 4 or not first.size:
        raise ValueError(f"expected equal shapes (S, N, K + 1, 2), got {first.shape} and {second.shape}")
    seeds, images, classes, _ = first.shape
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds  # (draws, S)
    both = []
    for counts in (first, second):
        whole = _miou(counts.sum(axis=1))  # (S,)
        totals = np.einsum("dn,snc->sdc", weights, counts.reshape(seeds, images, classes * 2), optimize=True)
        both.append((whole, _miou(totals.reshape(seeds, draws, classes, 2))))
    (whole, drawn), (other, other_drawn) = both
    differences = np.einsum("ds,sd->d", chosen, drawn - other_drawn)
    low, high = np.quantile(differences, [0.025, 0.975])
    return PairedDifference(float((whole - other).mean()), float(low), float(high), float((differences > 0).mean()))


def _miou(counts: NDArray[np.float64] | Counts) -> NDArray[np.float64]:
    """Mean IoU over the classes that occur, (...,), from counts (..., K + 1, 2)."""
    hits, union = counts[..., 0], counts[..., 1]
    occurs = union > 0
    iou = np.divide(hits, union, out=np.zeros(union.shape), where=occurs)
    mean: NDArray[np.float64] = iou.sum(axis=-1) / np.maximum(1, occurs.sum(axis=-1))
    return mean
