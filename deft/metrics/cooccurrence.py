"""Which classes are seen together, and in which contexts: where a classifier can learn the company for the thing.

The paper (DEFT, Table 3) prints a "co-occurrence ratio" that does not fit its own image counts under the obvious
definition: aeroplane and sky 0.23, though 437 of 590 aeroplane images show sky. Its numbers fit the share among all
context labels of the class. Both are here: :meth:`Cooccurrence.share_of_images`, :meth:`Cooccurrence.share_of_labels`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Cooccurrence:
    """How often each class (row) is in one image with each companion (column)."""

    rows: tuple[str, ...]
    """Names of the K classes."""
    columns: tuple[str, ...]
    """Names of the J companions: contexts, or the classes again."""
    counts: NDArray[np.int64]
    """Images that hold both, (K, J); for classes with classes the diagonal is 0."""
    images: NDArray[np.int64]
    """Images that hold the class, (K,)."""
    base: NDArray[np.float64]
    """Share of all images that hold the companion, (J,) in [0, 1]."""

    def share_of_images(self) -> NDArray[np.float64]:
        """Of the images of a class, the share that shows the companion, (K, J) in [0, 1]; nan for an unseen class."""
        return _rows_over(self.counts, self.images)

    def share_of_labels(self) -> NDArray[np.float64]:
        """Of all companions of a class, the share that is this one, (K, J); rows sum to 1, nan if it has none."""
        return _rows_over(self.counts, self.counts.sum(axis=1))

    def strongest(self, at_least: int = 3) -> list[tuple[int, int, float]]:
        """The companion of each class that its presence makes most likelier than usual.

        Args:
            at_least: images that must show both.

        Returns:
            (class, companion, share of the class's images), those furthest above the companion's usual share first;
            classes that have no companion above its usual share are left out.
        """
        share = self.share_of_images()
        surplus = np.where(self.counts >= at_least, share - self.base[None, :], -1.0)
        found = []
        for k in range(len(self.rows)):
            j = int(surplus[k].argmax()) if len(self.columns) else -1
            if j >= 0 and surplus[k, j] > 0:
                found.append((float(surplus[k, j]), k, j))
        found.sort(key=lambda entry: (-entry[0], entry[1]))
        return [(k, j, float(share[k, j])) for _, k, j in found]


def class_by_class(labels: NDArray[np.bool_], classes: tuple[str, ...]) -> Cooccurrence:
    """Classes with classes.

    Args:
        labels: multi-hot (N, K).
        classes: K names.

    Raises:
        ValueError: the number of names is not K.

    >>> table = class_by_class(np.array([[True, True], [True, False]]), ("boat", "duck"))
    >>> table.share_of_images().tolist()
    [[0.0, 0.5], [1.0, 0.0]]
    """
    found = _cooccurrence(labels, labels, classes, classes)
    np.fill_diagonal(found.counts, 0)
    return found


def class_by_context(
    labels: NDArray[np.bool_], contexts: NDArray[np.bool_], classes: tuple[str, ...], names: tuple[str, ...]
) -> Cooccurrence:
    """Classes with contexts.

    Args:
        labels: multi-hot (N, K).
        contexts: multi-hot (N, J).
        classes: K names.
        names: J names of contexts.

    Raises:
        ValueError: the numbers of images or names differ.
    """
    return _cooccurrence(labels, contexts, classes, names)


def _cooccurrence(
    labels: NDArray[np.bool_], others: NDArray[np.bool_], rows: tuple[str, ...], columns: tuple[str, ...]
) -> Cooccurrence:
    if labels.ndim != 2 or others.ndim != 2 or len(labels) != len(others):
        raise ValueError(f"expected two multi-hot arrays of the same images, got {labels.shape} and {others.shape}")
    if labels.shape[1] != len(rows) or others.shape[1] != len(columns):
        raise ValueError(
            f"expected one name per column, got {len(rows)} and {len(columns)} names "
            f"for labels {labels.shape} and {others.shape}"
        )
    here, there = labels.astype(np.int64), others.astype(np.int64)
    base = there.sum(axis=0) / max(len(there), 1)
    return Cooccurrence(rows, columns, here.T @ there, here.sum(axis=0), base)


def _rows_over(counts: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    divisor = np.broadcast_to(whole[:, None], counts.shape)
    ratio = np.full(counts.shape, np.nan)
    np.divide(counts, divisor, out=ratio, where=divisor > 0)
    return ratio
