"""Co-occurrence of classes with each other and with contexts, which a classifier may confuse with the class itself.

The paper (DEFT, Table 3) reports a "co-occurrence ratio" that does not fit its own image counts under the obvious
definition: 0.23 for aeroplane and sky, although 437 of 590 aeroplane images show sky. Its numbers fit the share among
all context labels of the class. Both definitions are implemented: :meth:`Cooccurrence.share_of_images` and
:meth:`Cooccurrence.share_of_labels`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Cooccurrence:
    """Number of images that show each class (row) together with each companion (column)."""

    rows: tuple[str, ...]
    """Names of the K classes."""
    columns: tuple[str, ...]
    """Names of the J companions: contexts, or the classes again."""
    counts: NDArray[np.int64]
    """Number of images that show both, (K, J); for classes with classes the diagonal is 0."""
    images: NDArray[np.int64]
    """Number of images that show the class, (K,)."""
    base: NDArray[np.float64]
    """Share of all images that show the companion, (J,) in [0, 1]."""

    def share_of_images(self) -> NDArray[np.float64]:
        """Share of a class's images that show the companion, (K, J) in [0, 1]; nan for a class without images."""
        return _rows_over(self.counts, self.images)

    def share_of_labels(self) -> NDArray[np.float64]:
        """Share of a companion among all companions of a class, (K, J); rows sum to 1, nan for a class without any."""
        return _rows_over(self.counts, self.counts.sum(axis=1))

    def strongest(self, at_least: int = 3) -> list[tuple[int, int, float]]:
        """For each class, the companion whose share among its images exceeds its share among all images most.

        Args:
            at_least: minimum number of images that show both.

        Returns:
            (class, companion, share of the class's images), largest excess first; classes without a companion above
            its overall share are left out.
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
    """Co-occurrence of classes with each other.

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
    """Co-occurrence of classes with contexts.

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
