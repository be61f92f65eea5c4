"""Mean intersection over union as the field reports it: from one confusion matrix over the whole dataset.

The mean of per-image IoUs is a different, higher number and is not reported. Pixels whose ground truth is 255 are
ignored. A predicted 255 counts as background, as in IRN (Ahn et al., 2019, arXiv:1904.05044), so that leaving pixels
undecided does not raise the score. Values are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from deft.contracts import BACKGROUND, IGNORE, MAX_CLASSES
from deft.seedmaps import check_maps, strongest

THRESHOLDS: NDArray[np.float32] = (np.arange(100) / 100).astype(np.float32)
"""Background thresholds of a sweep: 0.00, 0.01, ... 0.99, (100,)."""
_PART = 2**21
"""Pixels that are counted at a time: their indices take 8 bytes each, several times over."""


class Confusion:
    """Confusion matrix of pixels, ground truth in rows and prediction in columns; matrices can be added with ``+``.

    Args:
        num_classes: K, without background.
        matrix: initial counts, int64 (K + 1, K + 1); zeros if not given.

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
            raise ValueError(f"expected a matrix of shape {shape} for {num_classes} classes, got {matrix.shape}")
        self.num_classes = num_classes
        self.matrix: NDArray[np.int64] = matrix.astype(np.int64)

    def update(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Count one image.

        Args:
            prediction: uint8 (H, W); 255 counts as background.
            truth: ground truth, uint8 (H, W); 255 is ignored.

        Raises:
            ValueError: the two differ in size, or contain a value above K other than 255.
        """
        if prediction.shape != truth.shape:
            raise ValueError(
                f"expected prediction and ground truth of the same size, got {prediction.shape} and {truth.shape}; "
                "resize the prediction to the ground truth (nearest neighbour for a mask)"
            )
        for part in _parts(truth.shape):
            self._count(prediction[part], truth[part])

    def _count(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        kept = truth != IGNORE
        rows = truth[kept].astype(np.intp)
        columns = prediction[kept].astype(np.intp)
        columns[columns == IGNORE] = BACKGROUND
        _check_values(rows, self.num_classes, "ground-truth")
        _check_values(columns, self.num_classes, "predicted")
        size = self.num_classes + 1
        self.matrix += np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class, background first, (K + 1,); nan for a class that occurs nowhere."""
        hits = np.diagonal(self.matrix)
        return _ratio(hits, self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - hits)

    def miou(self) -> float:
        """Mean of :meth:`iou` over the classes that occur; nan if nothing was counted."""
        return _mean(self.iou())

    def pixels(self) -> int:
        """Number of pixels counted."""
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
    """Confusion matrices of seeds at all background thresholds, at about the cost of one.

    A pixel belongs to its strongest class if that score is above the threshold (``score > t``, in float32; equality
    is background), for t = 0.00 ... 0.99. One histogram over (ground truth, strongest class, number of thresholds below
    the score) contains all hundred confusion matrices. The best threshold requires ground truth: it is an upper bound
    for the maps, which a user without ground truth does not reach, so :meth:`at` (fixed) and :meth:`best` (swept) are
    separate.

    Args:
        num_classes: K, without background.
        counts: initial counts, int64 (K + 1, K, 101), by ground truth, strongest class and bin.
        totals: initial number of pixels by ground truth, int64 (K + 1,).

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
            raise ValueError("expected counts and totals of the same sweep, or neither, got only one of the two")
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
            truth: ground truth, uint8 (H, W); 255 is ignored.

        Raises:
            ValueError: sizes or classes do not match, or a map contains nan.
        """
        check_maps(maps, classes, self.num_classes)
        if maps.shape[1:] != truth.shape:
            raise ValueError(
                f"expected maps and ground truth of the same size, got {maps.shape[1:]} and {truth.shape}; "
                "resize the maps to the ground truth (bilinear) first"
            )
        for part in _parts(truth.shape):
            self._count(maps[:, part], classes, truth[part])

    def _count(self, maps: NDArray[np.float32], classes: Sequence[int], truth: NDArray[np.uint8]) -> None:
        kept = truth != IGNORE
        rows = truth[kept].astype(np.intp)
        _check_values(rows, self.num_classes, "ground-truth")
        if not classes:
            self.totals += np.bincount(rows, minlength=self.num_classes + 1)
            return
        winner, score = strongest(maps)
        present, width = len(classes), len(THRESHOLDS) + 1
        cells = rows * present  # then in place: allocating arrays of this size costs as much as the sums
        cells += winner[kept]
        cells *= width
        cells += _below(score[kept])
        flat = np.bincount(cells, minlength=(self.num_classes + 1) * present * width)
        found = flat.reshape(self.num_classes + 1, present, width)
        self.counts[:, list(classes)] += found
        self.totals += found.sum(axis=(1, 2))

    def at(self, threshold: float) -> Confusion:
        """The confusion matrix at one threshold.

        Raises:
            ValueError: the threshold is not one of 0.00, 0.01, ... 0.99.
        """
        step = round(threshold * 100)
        if not 0 <= step < len(THRESHOLDS) or abs(threshold * 100 - step) > 1e-4:
            raise ValueError(
                f"expected one of the thresholds 0.00, 0.01, ... 0.99, got {threshold}; round it to two decimals, "
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
        """The threshold with the highest mean IoU (the lowest if several tie) and that mean; both nan if empty."""
        curve = self.curve()
        if np.isnan(curve).all():
            return float("nan"), float("nan")
        step = int(np.nanargmax(curve))
        return step / 100, float(curve[step])

    def __add__(self, other: ThresholdSweep) -> ThresholdSweep:
        _check_same(self.num_classes, other.num_classes)
        return ThresholdSweep(self.num_classes, self.counts + other.counts, self.totals + other.totals)


def _parts(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an image (H, W), a few at a time."""
    step = max(1, _PART // max(1, shape[1]))
    return (slice(top, top + step) for top in range(0, shape[0], step))


def _below(score: NDArray[np.float32]) -> NDArray[np.intp]:
    """Number of thresholds strictly below each score, 0 to 100.

    The position between two thresholds is computed as a product. For a score above a threshold the product is never
    rounded to below that threshold's index, because the threshold is the float nearest to k / 100; a product that is
    rounded up to an index is corrected by the comparison.
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
        raise ValueError(f"expected counts of the same number of classes, got {one} and {other}")


def _check_values(values: NDArray[np.intp], num_classes: int, what: str) -> None:
    if len(values) and values.max() > num_classes:
        raise ValueError(
            f"expected {what} values of {num_classes} classes, 0 (background), 1 to {num_classes} and {IGNORE} "
            f"(ignore), got {values.max()}; check the class list and the mask's encoding"
        )
