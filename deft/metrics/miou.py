"""Mean intersection over union as this field reports it: one confusion matrix for the whole data set.

The mean of per-image IoUs is another, higher number and is never reported. Ground truth 255 is dropped. A predicted
255 counts as background, as in IRN (Ahn et al., 2019, arXiv:1904.05044): a map may not gain by refusing to answer.
Values are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deft.contracts import BACKGROUND, IGNORE, MAX_CLASSES
from deft.seedmaps import check_maps, strongest

THRESHOLDS: NDArray[np.float32] = (np.arange(100) / 100).astype(np.float32)
"""The background thresholds of a sweep: 0.00, 0.01, ... 0.99, (100,)."""


class Confusion:
    """Counts of pixels by truth (rows) and prediction (columns), summable over images and processes.

    Args:
        num_classes: K, without background.
        matrix: int64 (K + 1, K + 1) to start from; zeros if not given.

    Raises:
        ValueError: K is out of range or the matrix has another shape.

    >>> confusion = Confusion(1)
    >>> confusion.update(prediction=np.array([[0, 1]], np.uint8), truth=np.array([[1, 1]], np.uint8))
    >>> confusion.iou().tolist(), confusion.miou()
    ([0.0, 0.5], 0.25)
    """

    def __init__(self, num_classes: int, matrix: NDArray[np.int64] | None = None) -> None:
        _check_classes(num_classes)
        shape = (num_classes + 1, num_classes + 1)
        if matrix is None:
            matrix = np.zeros(shape, dtype=np.int64)
        if matrix.shape != shape:
            raise ValueError(f"the matrix of {num_classes} classes and background is {shape}, got {matrix.shape}")
        self.num_classes = num_classes
        self.matrix: NDArray[np.int64] = matrix.astype(np.int64)

    def update(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Count one image.

        Args:
            prediction: uint8 (H, W); 255 counts as background.
            truth: uint8 (H, W); 255 is dropped.

        Raises:
            ValueError: the two differ in size, or hold a value above K other than 255.
        """
        if prediction.shape != truth.shape:
            raise ValueError(
                f"prediction is {prediction.shape} and truth {truth.shape}: they must be the same size; "
                "resize the prediction to the truth (nearest neighbour for a mask)"
            )
        kept = truth != IGNORE
        rows = truth[kept].astype(np.intp)
        columns = prediction[kept].astype(np.intp)
        columns[columns == IGNORE] = BACKGROUND
        _check_values(rows, self.num_classes, "truth")
        _check_values(columns, self.num_classes, "prediction")
        size = self.num_classes + 1
        self.matrix += np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class, background first, (K + 1,); nan where a class is in neither mask."""
        hits = np.diagonal(self.matrix)
        return _ratio(hits, self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - hits)

    def miou(self) -> float:
        """Mean of :meth:`iou` over the classes that occur; nan if nothing was counted."""
        return _mean(self.iou())

    def pixels(self) -> int:
        """Pixels counted."""
        return int(self.matrix.sum())

    def to_json(self) -> list[list[int]]:
        """The matrix as lists of integers, for :meth:`from_json`."""
        return [[int(count) for count in row] for row in self.matrix]

    @classmethod
    def from_json(cls, rows: Sequence[Sequence[int]]) -> Confusion:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: the rows do not form a square matrix.
        """
        return cls(len(rows) - 1, np.array(rows, dtype=np.int64))

    def __add__(self, other: Confusion) -> Confusion:
        _check_same(self.num_classes, other.num_classes)
        return Confusion(self.num_classes, self.matrix + other.matrix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Confusion) and np.array_equal(self.matrix, other.matrix)

    __hash__ = None  # type: ignore[assignment]


class ThresholdSweep:
    """The confusion of seeds at every background threshold, for about the price of one.

    A pixel belongs to its strongest class iff that score is above the threshold (``score > t``, in float32; equality
    is background), for t = 0.00 ... 0.99. One histogram over (truth, winner, how many thresholds lie below the
    score) holds all hundred confusion matrices. The best threshold needs the truth: it says what the maps could
    give, not what a user without truth gets, so :meth:`at` (fixed) and :meth:`best` (swept) stay two numbers.

    Args:
        num_classes: K, without background.
        counts: int64 (K + 1, K, 101), truth by winner by bin, to start from.
        totals: int64 (K + 1,), pixels by truth, to start from.

    Raises:
        ValueError: an argument is out of range or has another shape, or only one of the two arrays is given.

    >>> sweep = ThresholdSweep(1)
    >>> sweep.update(np.array([[[0.2, 0.8]]], np.float32), classes=[0], truth=np.array([[0, 1]], np.uint8))
    >>> sweep.at(0.5).miou(), sweep.best()
    (1.0, (0.2, 1.0))
    """

    def __init__(
        self,
        num_classes: int,
        counts: NDArray[np.int64] | None = None,
        totals: NDArray[np.int64] | None = None,
    ) -> None:
        _check_classes(num_classes)
        if counts is None and totals is None:
            counts = np.zeros((num_classes + 1, num_classes, len(THRESHOLDS) + 1), dtype=np.int64)
            totals = np.zeros(num_classes + 1, dtype=np.int64)
        if counts is None or totals is None:
            raise ValueError("counts and totals belong together: give both, as saved from one sweep, or neither")
        shape = (num_classes + 1, num_classes, len(THRESHOLDS) + 1)
        if counts.shape != shape or totals.shape != shape[:1]:
            raise ValueError(f"expected counts {shape}, totals {shape[:1]}; got {counts.shape}, {totals.shape}")
        self.num_classes = num_classes
        self.counts: NDArray[np.int64] = counts.astype(np.int64)
        self.totals: NDArray[np.int64] = totals.astype(np.int64)

    def update(self, maps: NDArray[np.float32], classes: Sequence[int], truth: NDArray[np.uint8]) -> None:
        """Count one image at every threshold.

        Args:
            maps: seeds at the size of the image, float (P, H, W) in [0, 1].
            classes: the P class indices, 0-based without background.
            truth: uint8 (H, W); 255 is dropped.

        Raises:
            ValueError: sizes or classes do not fit, or a map holds nan.
        """
        check_maps(maps, classes, self.num_classes)
        if maps.shape[1:] != truth.shape:
            raise ValueError(
                f"maps are {maps.shape[1:]} and truth {truth.shape}: they must be the same size; "
                "resize the maps to the truth (bilinear) first"
            )
        kept = truth != IGNORE
        rows = truth[kept].astype(np.intp)
        _check_values(rows, self.num_classes, "truth")
        if not classes:
            self.totals += np.bincount(rows, minlength=self.num_classes + 1)
            return
        winner, score = strongest(maps)
        present, width = len(classes), len(THRESHOLDS) + 1
        cells = rows * present  # and on in place: new arrays of this size cost as much as the sums
        cells += winner[kept]
        cells *= width
        cells += _below(score[kept])
        flat = np.bincount(cells, minlength=(self.num_classes + 1) * present * width)
        found = flat.reshape(self.num_classes + 1, present, width)
        self.counts[:, list(classes)] += found
        self.totals += found.sum(axis=(1, 2))

    def at(self, threshold: float) -> Confusion:
        """The confusion at one fixed threshold.

        Raises:
            ValueError: the threshold is not one of 0.00, 0.01, ... 0.99.
        """
        step = round(threshold * 100)
        if not 0 <= step < len(THRESHOLDS) or abs(threshold * 100 - step) > 1e-4:
            raise ValueError(
                f"the sweep knows the thresholds 0.00, 0.01, ... 0.99, not {threshold}; round it to two decimals, "
                "or count masks made with deft.seedmaps.to_mask in a Confusion"
            )
        objects = self.counts[:, :, step + 1 :].sum(axis=2)
        background = self.totals - objects.sum(axis=1)
        return Confusion(self.num_classes, np.concatenate([background[:, None], objects], axis=1))

    def curve(self) -> NDArray[np.float64]:
        """Mean IoU at each of :data:`THRESHOLDS`, (100,); nan if nothing was counted."""
        above = np.cumsum(self.counts[:, :, :0:-1], axis=2)[:, :, ::-1]
        hits = np.empty((self.num_classes + 1, len(THRESHOLDS)), dtype=np.int64)
        found = np.empty_like(hits)
        classes = np.arange(self.num_classes)
        hits[1:] = above[classes + 1, classes]
        found[1:] = above.sum(axis=0)
        hits[0] = self.totals[0] - above[0].sum(axis=0)
        found[0] = self.totals.sum() - found[1:].sum(axis=0)
        iou = _ratio(hits, found + self.totals[:, None] - hits)
        return np.array([_mean(column) for column in iou.T])

    def best(self) -> tuple[float, float]:
        """The threshold with the highest mean IoU (the lowest of equals) and that mean; nan twice if empty."""
        curve = self.curve()
        if np.isnan(curve).all():
            return float("nan"), float("nan")
        step = int(np.nanargmax(curve))
        return step / 100, float(curve[step])

    def __add__(self, other: ThresholdSweep) -> ThresholdSweep:
        _check_same(self.num_classes, other.num_classes)
        return ThresholdSweep(self.num_classes, self.counts + other.counts, self.totals + other.totals)


def _below(score: NDArray[np.float32]) -> NDArray[np.intp]:
    """How many thresholds lie strictly below each score, 0 to 100.

    Where the score lies between two thresholds is read off a product. The product of a score above a threshold is never
    rounded to below its place, because the threshold is the number next to k / 100; one that is rounded up to a place
    is found by the comparison.
    """
    scaled = score * np.float32(100)
    place = np.clip(scaled, 0, len(THRESHOLDS) - 1, out=scaled).astype(np.intp)
    place += score > THRESHOLDS[place]
    return place


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _check_classes(num_classes: int) -> None:
    if not 1 <= num_classes <= MAX_CLASSES:
        raise ValueError(f"expected 1 to {MAX_CLASSES} classes without background, got {num_classes}")


def _check_same(one: int, other: int) -> None:
    if one != other:
        raise ValueError(f"only counts of the same classes can be summed, got {one} and {other} classes")


def _check_values(values: NDArray[np.intp], num_classes: int, what: str) -> None:
    if len(values) and values.max() > num_classes:
        raise ValueError(
            f"{what} holds the value {values.max()}; with {num_classes} classes a mask holds 0 (background), "
            f"1 to {num_classes} and {IGNORE} (ignore): check the class list and the mask's encoding"
        )
