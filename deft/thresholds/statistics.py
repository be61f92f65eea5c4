"""What the choice of a threshold looks at: a histogram of map values, and how well each threshold explains colours.

Both are sums over images, so that a data set of any size is read once and never held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import read_json, write_json
from deft.contracts import Dataset, Sample, SeedMaps
from deft.engine import ranks
from deft.engine.infer import for_each
from deft.metrics import THRESHOLDS
from deft.seedmaps import STRIDE, strongest

LEVELS = 255
"""Maps are stored in 8 bits: their values are k / 255."""
COLOURS = 8
"""Bins for each of red, green and blue."""


@dataclass(frozen=True, eq=False)
class MapStatistics:
    """Sums over the cells of the class maps of a number of images."""

    counts: NDArray[np.int64]
    """How many cells have a strongest map of value k / 255, (256,)."""
    information: NDArray[np.float64]
    """Sum over images of the mutual information of "above the threshold" and the colour of a cell, in nats, at each of
    the thresholds 0.00, 0.01, ... 0.99, (100,)."""
    images: int = 0
    """Images that have a map."""

    @classmethod
    def empty(cls) -> MapStatistics:
        """Of no image."""
        return cls(np.zeros(LEVELS + 1, dtype=np.int64), np.zeros(len(THRESHOLDS)))

    @classmethod
    def of(cls, seeds: SeedMaps, image: NDArray[np.uint8]) -> MapStatistics:
        """Of one image.

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
        """As plain values."""
        return {
            "counts": self.counts.tolist(),
            "information": [round(float(value), 9) for value in self.information],
            "images": self.images,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> MapStatistics:
        """What :meth:`to_json` wrote."""
        return cls(np.array(value["counts"], dtype=np.int64), np.array(value["information"]), int(value["images"]))


STEPS: NDArray[np.intp] = np.searchsorted(THRESHOLDS, np.arange(LEVELS + 1, dtype=np.float32) / LEVELS).astype(np.intp)
"""How many of the 100 thresholds lie below each of the 256 values, (256,): a value is above just those."""


def information(levels: NDArray[np.intp], colours: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mutual information of "the value is above a threshold" and the colour, in nats.

    Args:
        levels: map values times 255, (n,).
        colours: colour bin of each cell, any integers of at least 0, (n,).

    Returns:
        (100,), of each threshold: 0 where all cells are on one side, at most log 2.
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
    """Of a coin that falls on one side with that probability, in nats."""
    inside = np.clip(share, 1e-300, 1.0)
    outside = np.clip(1 - share, 1e-300, 1.0)
    entropy: NDArray[np.float64] = -(share * np.log(inside) + (1 - share) * np.log(outside))
    return entropy


def kept_statistics(
    path: Path, made_by: str, data: Dataset, maps: Callable[[int], SeedMaps], title: str = "thresholds"
) -> MapStatistics:
    """Statistics that are stored in a file; measured and stored where they are not there, or are of other maps.

    Of several processes all have to call it: the first measures and all return the same.

    Args:
        path: the file.
        made_by: key of the maps.
        data: the images.
        maps: stored maps of image ``i``.
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
    """Statistics in a file; None where it is not there, or is of maps of another key."""
    value = read_json(path) if path.exists() else {}
    return MapStatistics.from_json(value) if value.get("made_by") == made_by else None


def measure(data: Dataset, maps: Callable[[int], SeedMaps], title: str = "thresholds") -> MapStatistics:
    """Statistics of the maps of a whole data set.

    Args:
        data: the images.
        maps: stored maps of image ``i``.
        title: progress-bar label.
    """
    found: list[MapStatistics | None] = [None] * len(data)

    def work(index: int, sample: Sample) -> None:
        found[index] = MapStatistics.of(maps(index), sample.image)

    for_each(data, range(len(data)), work, title=title, on_device=False)
    total = MapStatistics.empty()
    for one in found:  # in the order of the images, so that sums do not depend on which thread was faster
        if one is not None:
            total = total + one
    return total
