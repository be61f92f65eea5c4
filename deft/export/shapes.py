"""The regions of a mask as polygons or as pixels, for formats of objects.

Polygons are simplified by at most the tolerance, and by less in an image where that would change more than 0.5 % of
its pixels. A region with a hole is given as pixels, unless a format knows polygons only: it is then one polygon with a
cut to each hole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deft.contracts import BACKGROUND, IGNORE
from deft.data.layouts.outlines import Instance, Outline, Polygons, Runs, draw, require_pycocotools
from deft.data.layouts.run_lengths import mask_to_counts
from deft.export.rings import Region, Ring, area, opened, regions, simplified

MOST_CHANGED = 0.005
"""Largest share of an image's pixels that simplified polygons may change."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A region, as a polygon or as pixels."""

    region: Region
    polygon: Ring | None
    """(P, 2), simplified; None to give it as pixels."""

    @property
    def value(self) -> int:
        """Mask value."""
        return self.region.value

    @property
    def corner(self) -> tuple[int, int]:
        """(left, top) of :attr:`pixels` in the image."""
        return self.region.box[:2]

    @property
    def pixels(self) -> NDArray[np.bool_]:
        """The region within its box, (h, w)."""
        left, top, right, bottom = self.region.box
        changes = np.zeros((bottom - top, right - left + 1), dtype=np.bool_)
        for ring in (self.region.outer, *self.region.holes):
            corners = np.rint(ring).astype(int) - (left, top)
            for (x, y), (other, end) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
                if x == other:
                    changes[min(y, end) : max(y, end), x] ^= True
        return np.logical_xor.accumulate(changes[:, :-1], axis=1)

    @property
    def outline(self) -> Outline:
        """As the readers of other tools' files have it."""
        if self.polygon is not None:
            return Polygons((self.polygon,))
        inside = self.pixels
        counts = np.array(mask_to_counts(inside, columns=False), dtype=np.int64)
        return Runs(counts, (inside.shape[0], inside.shape[1]), self.corner, columns=False)


def pixel_shapes(mask: NDArray[np.uint8]) -> list[Shape]:
    """Every region of a mask (H, W) as pixels, class by class; areas to ignore come last."""
    return [Shape(region, None) for value in values_in(mask) for region in regions(mask, value)]


def polygon_shapes(mask: NDArray[np.uint8], tolerance: float, *, cut: bool = False) -> list[Shape]:
    """Every region of a mask as a polygon, as far as it can be one.

    Args:
        mask: (H, W).
        tolerance: how far a polygon may be from the edges of pixels, in pixels; 0 keeps them exactly.
        cut: a region with holes becomes a polygon with a cut to each; else it is given as pixels.

    Raises:
        InputError: there is a tolerance, and pycocotools, which draws what it leads to, is not installed.
    """
    exact = pixel_shapes(mask)
    if tolerance >= 0.25:
        require_pycocotools("--tolerance")
    while tolerance >= 0.25:
        found = [_polygon(each, tolerance, cut) for each in exact]
        drawn = draw([Instance(each.value, each.outline) for each in found], (mask.shape[0], mask.shape[1]))
        if np.count_nonzero(drawn != mask) <= MOST_CHANGED * mask.size:
            return found
        tolerance /= 2
    return [_polygon(each, 0, cut) for each in exact]


def _polygon(shape: Shape, tolerance: float, cut: bool) -> Shape:
    region = shape.region
    if region.holes and not cut:
        return shape
    outer = simplified(region.outer, tolerance)
    if abs(area(outer) / area(region.outer) - 1) > 0.5:  # so thin that little would be left of it
        outer = region.outer
    holes = tuple(simplified(hole, tolerance) for hole in region.holes)
    return replace(shape, polygon=opened(replace(region, outer=outer, holes=holes)))


def values_in(mask: NDArray[np.uint8]) -> Sequence[int]:
    """The values in a mask except background, ascending: classes, then 255."""
    return [
        value
        for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE + 1)).tolist()
        if value != BACKGROUND
    ]
