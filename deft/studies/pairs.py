"""Pairs of a class and a context that it often occurs with: the rows of DEFT's Table 3, on any dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE, Dataset, InputError, Sample
from deft.engine.infer import for_each
from deft.metrics import Cooccurrence
from deft.stages.truth import usable_truth

AT_LEAST = 5
"""Minimum number of images for a score: those of the class with the context, or those without it."""
MOST = 20
"""Maximum number of classes, those that co-occur most often first."""
SIDES = ("with", "without")
"""The two sets of images of a class: with the context, and without it."""
PAPER = {
    ("aeroplane", "sky"): "ratio .23, IRN 83.72, DEFT 87.34",
    ("sheep", "grass"): "ratio .22, IRN 85.95, DEFT 86.01",
    ("cow", "grass"): "ratio .20, IRN 86.24, DEFT 87.79",
    ("boat", "water"): "ratio .18, IRN 75.05, DEFT 76.36",
    ("train", "railroad"): "ratio .11, IRN 68.83, DEFT 74.69",
}


@dataclass(frozen=True)
class Pair:
    """A class, a context, and the scored images of the class with and without the context."""

    row: int
    """Index of the class."""
    column: int
    """Index of the context."""
    name: str
    together: NDArray[np.bool_]
    """Scored images that show both, (N,)."""
    apart: NDArray[np.bool_]
    """Scored images that show the class without the context, (N,)."""

    def sides(self) -> dict[str, NDArray[np.bool_]]:
        """The two sets of images, by the names in :data:`SIDES`."""
        return dict(zip(SIDES, (self.together, self.apart), strict=True))


def context_labels(data: Dataset) -> NDArray[np.bool_]:
    """The contexts that each image shows, (N, J): from the context labels, else from the context masks.

    Raises:
        InputError: the dataset has neither.
    """
    if data.contexts and data.context_labels is not None:
        return data.context_labels
    found = np.zeros((len(data), len(data.contexts)), dtype=np.bool_)
    seen = np.zeros(len(data), dtype=np.bool_)

    def work(index: int, sample: Sample) -> None:
        if sample.context is not None:
            values = np.unique(sample.context)
            found[index, values[(values > 0) & (values != IGNORE)] - 1] = True
            seen[index] = True

    if data.contexts:
        for_each(usable_truth(data), range(len(data)), work, title="contexts")
    if not seen.any():
        raise InputError(
            "this study needs context labels: expected context_classes.txt with context_labels.csv or "
            "SegmentationContext/ beside the images, got none; see docs/data.md"
        )
    return found


def find_pairs(data: Dataset, present: NDArray[np.bool_], table: Cooccurrence) -> list[Pair]:
    """The pairs to score.

    They are, of each class, its most frequent context; its most frequent context among those that leave enough images
    without it; and the paper's pairs.

    Args:
        data: dataset with ground truth.
        present: contexts of each image, (N, J).
        table: co-occurrence of classes and contexts.

    Returns:
        Pairs with at least :data:`AT_LEAST` scored images that show both, highest co-occurrence first.
    """
    share = table.share_of_images()

    def pair(k: int, j: int) -> Pair:
        tagged = data.labels[:, k] & data.scored
        return Pair(k, j, f"{table.rows[k]}, {table.columns[j]}", tagged & present[:, j], tagged & ~present[:, j])

    kinds: list[Callable[[Pair], bool]] = [
        lambda one: True,
        lambda one: int(one.apart.sum()) >= AT_LEAST,
        lambda one: (table.rows[one.row], table.columns[one.column]) in PAPER,
    ]
    chosen: dict[tuple[int, int], Pair] = {}
    for fits in kinds:
        found = []
        for k in range(len(table.rows)):
            candidates = [pair(k, j) for j in range(len(table.columns))]
            candidates = [one for one in candidates if one.together.sum() >= AT_LEAST and fits(one)]
            if candidates:
                found.append(max(candidates, key=lambda one: (int(one.together.sum()), -one.column)))
        found.sort(key=lambda one: -share[one.row, one.column])
        chosen |= {(one.row, one.column): one for one in found[:MOST]}
    return sorted(chosen.values(), key=lambda one: -share[one.row, one.column])
