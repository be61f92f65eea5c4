"""Regions as polygons and pixels: simplified as far as told, and never further than half a per cent of an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deft.data.layouts.outlines import Instance, draw
from deft.export.shapes import MOST_CHANGED, Shape, pixel_shapes, polygon_shapes, values_in
from export_runs import awkward

MASKS = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 0, 1, 1, 3, 254, 255])
)


def drawn(shapes: list[Shape], size: tuple[int, int]) -> np.ndarray:
    return draw([Instance(each.value, each.outline) for each in shapes], size)


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_pixels_of_all_regions_are_the_mask(mask: np.ndarray) -> None:
    found = np.zeros_like(mask)
    for shape in pixel_shapes(mask):
        left, top, right, bottom = shape.region.box
        assert shape.corner == (left, top)
        part = found[top:bottom, left:right]
        assert not part[shape.pixels].any()  # no pixel is in two regions
        part[shape.pixels] = shape.value
    assert (found == mask).all()
    assert (drawn(pixel_shapes(mask), mask.shape) == mask).all()


@settings(max_examples=100, deadline=None)
@given(MASKS, st.booleans())
def test_polygons_without_tolerance_are_exact(mask: np.ndarray, cut: bool) -> None:
    shapes = polygon_shapes(mask, 0, cut=cut)
    assert (drawn(shapes, mask.shape) == mask).all()
    assert all((each.polygon is None) == (bool(each.region.holes) and not cut) for each in shapes)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 1.0, 4.0, 100.0]), st.booleans())
def test_polygons_change_at_most_half_a_per_cent_and_keep_every_region(seed: int, tolerance: float, cut: bool) -> None:
    mask = awkward((40 + seed % 30, 45 + seed % 17), seed)
    shapes = polygon_shapes(mask, tolerance, cut=cut)
    assert np.count_nonzero(drawn(shapes, mask.shape) != mask) <= MOST_CHANGED * mask.size
    assert len(shapes) == len(pixel_shapes(mask))
    for each in shapes:
        assert drawn([each], mask.shape).any()


def test_a_curve_gets_fewer_corners_with_more_tolerance() -> None:
    rows, columns = np.mgrid[:300, :300]
    mask = (np.hypot(rows - 150, columns - 150) < 120).astype(np.uint8)
    counts = [len(polygon_shapes(mask, tolerance)[0].polygon) for tolerance in (0, 0.75, 1.5, 3)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] / 10


@pytest.mark.parametrize("value", [1, 7, 254, 255])
def test_one_pixel_stays_one_pixel(value: int) -> None:
    mask = np.zeros((5, 5), np.uint8)
    mask[4, 0] = value
    assert polygon_shapes(mask, 3)[0].polygon.tolist() == [[0, 4], [1, 4], [1, 5], [0, 5]]
    assert values_in(mask) == [value]


def test_there_may_be_many_regions() -> None:
    mask = np.zeros((32, 34), np.uint8)
    mask[::2, ::2] = np.arange(1, 16 * 17 + 1).reshape(16, 17) % 254 + 1
    shapes = polygon_shapes(mask, 1)
    assert len(shapes) == 272
    assert (drawn(shapes, mask.shape) == mask).all()
