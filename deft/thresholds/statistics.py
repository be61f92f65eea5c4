"""Statistics from which thresholds are chosen: a histogram of map values, and mutual information with colours.

Both are sums over images, so that a dataset of any size is read once and not kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import read_json, write_json
from deft.contracts import Dataset, InputError, Sample, SeedMaps
from deft.engine import ranks
from deft.engine.infer import for_each
from deft.guards.opening import exists
from deft.metrics import THRESHOLDS
from deft.seedmaps import STRIDE, strongest

LEVELS = 255
"""Maps are stored in 8 bits: their values are k / 255."""
COLOURS = 8
"""Number of bins for each of red, green and blue."""


@dataclass(frozen=True, eq=False)
class MapStatistics:
    """Sums over the cells of the class maps of some images; two of them can be added with ``+``."""

    counts: NDArray[np.int64]
    """Histogram of the strongest map of each cell: number of cells with value k / 255, (256,)."""
    information: NDArray[np.float64]
    """Sum over images of the mutual information between "above the threshold" and the colour of a cell, in nats, for
    each of the thresholds 0.00, 0.01, ... 0.99, (100,)."""
    images: int = 0
    """Number of images with maps."""

    @classmethod
    def empty(cls) -> MapStatistics:
        """Statistics of no images."""
        return cls(np.zeros(LEVELS + 1, dtype=np.int64), np.zeros(len(THRESHOLDS)))

    @classmethod
    def of(cls, seeds: SeedMaps, image: NDArray[np.uint8]) -> MapStatistics:
        """Statistics of one image.

        Args:
            seeds: its maps, (P, h, w) on the grid of :mod:`deft.seedmaps`.
            image: RGB, (H, W, 3).
        """
        if not seeds.classes:
            return cls.empty()
        score = strongest(seeds.maps)[1]
        levels = np.rint(score.clip(0, 1) * LEVELS).astype(np.intp)
        bins = (image[::STRIDE, ::STRIDE].astype(np.intp) * COLOURS) >> 8
        colours = (bins[..., 0] * COLOURS + bins[..., 1]) * COLOURS + bins[..., 2]
        counts = np.bincount(levels.ravel(), minlength=LEVELS + 1)
        return cls(counts, information(levels.ravel(), colours.ravel()), 1)

    def __add__(self, other: MapStatistics) -> MapStatistics:
        return MapStatistics(
            self.counts + other.counts, self.information + other.information, self.images + other.images
        )

    def to_json(self) -> dict[str, Any]:
        """The sums as JSON values, for :meth:`from_json`."""
        return {
            "counts": self.counts.tolist(),
            "information": [round(float(value), 9) for value in self.information],
            "images": self.images,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> MapStatistics:
        """The inverse of :meth:`to_json`.

        Raises:
            InputError: they are other values.
        """
        try:
            counts, shares = np.array(value["counts"], dtype=np.int64), np.array(value["information"], dtype=np.float64)
            if counts.shape != (LEVELS + 1,) or shares.shape != THRESHOLDS.shape or not np.isfinite(shares).all():
                raise ValueError
            return cls(counts, shares, int(value["images"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InputError(
                "expected the statistics of maps, got other JSON; remove the file and repeat the deft run command"
            ) from None


STEPS: NDArray[np.intp] = np.searchsorted(THRESHOLDS, np.arange(LEVELS + 1, dtype=np.float32) / LEVELS).astype(np.intp)
"""Number of the 100 thresholds below each of the 256 values, (256,)."""


def information(levels: NDArray[np.intp], colours: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mutual information between "the value is above a threshold" and the colour, in nats.

    Args:
        levels: map values times 255, integer (n,).
        colours: colour bin of each cell, non-negative integers, (n,).

    Returns:
        (100,), for each threshold: 0 if all cells are on one side, at most log 2.
    """
    used, rows = np.unique(colours, return_inverse=True)
    width = len(THRESHOLDS) + 1
    joint = np.bincount(rows * width + STEPS[levels], minlength=len(used) * width).reshape(len(used), width)
    above = joint[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    size = joint.sum(axis=1, keepdims=True)
    whole = _entropy(above.sum(axis=0) / len(levels))
    within = (size / len(levels) * _entropy(above / size)).sum(axis=0)
    gained: NDArray[np.float64] = np.maximum(whole - within, 0.0)
    return gained


def _entropy(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of a Bernoulli variable with probability ``share``, in nats."""
    inside = np.clip(share, 1e-300, 1.0)
    outside = np.clip(1 - share, 1e-300, 1.0)
    entropy: NDArray[np.float64] = -(share * np.log(inside) + (1 - share) * np.log(outside))
    return entropy


def kept_statistics(
    path: Path, made_by: str, data: Dataset, maps: Callable[[int], SeedMaps], title: str = "thresholds"
) -> MapStatistics:
    """Statistics stored in a file; measured and stored first if the file is missing or belongs to other maps.

    If there are several processes, all must call it: the first one measures, and all return the same.

    Args:
        path: the file.
        made_by: key of the maps.
        data: the images.
        maps: returns the stored maps of image ``i``.
        title: progress-bar label.
    """
    known = stored_statistics(path, made_by)
    if not ranks.agreed(known is not None):
        if ranks.first():
            write_json(path, {"made_by": made_by, **measure(data, maps, title).to_json()})
        ranks.barrier()
        known = stored_statistics(path, made_by)
    if known is None:
        raise AssertionError(f"{path} was just written")
    return known


def stored_statistics(path: Path, made_by: str) -> MapStatistics | None:
    """Statistics stored in a file; None if it is missing, or its maps have another key."""
    value = read_json(path) if exists(path) else {}
    ours = isinstance(value, dict) and value.get("made_by") == made_by
    return MapStatistics.from_json(value) if ours else None


def measure(data: Dataset, maps: Callable[[int], SeedMaps], title: str = "thresholds") -> MapStatistics:
    """Statistics of the maps of a whole dataset.

    Args:
        data: the images.
        maps: returns the stored maps of image ``i``.
        title: progress-bar label.
    """
    found: list[MapStatistics | None] = [None] * len(data)

    def work(index: int, sample: Sample) -> None:
        found[index] = MapStatistics.of(maps(index), sample.image)

    for_each(data, range(len(data)), work, title=title, on_device=False)
    total = MapStatistics.empty()
    for one in found:  # in the order of the images, so that sums do not depend on the timing of threads
        if one is not None:
            total = total + one
    return total
