"""Polygons along pixel edges: exactly the pixels of a region, whatever its holes, islands and borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deft.data.layouts.outlines import Instance, Polygons, draw
from deft.export.rings import Region, opened, regions, simplified

MASKS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.sampled_from([0, 1, 1, 2, 255]),
)


def filled(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre is inside a ring, by counting crossings to the left."""
    inside = np.zeros(size, dtype=bool)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = column + 0.5, row + 0.5
            count = 0
            for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if (ay <= y) != (by <= y) and ax + (y - ay) * (bx - ax) / (by - ay) < x:
                    count += 1
            inside[row, column] = count % 2 == 1
    return inside


def pixels(region: Region, size: tuple[int, int]) -> np.ndarray:
    found = filled(region.outer, size)
    for hole in region.holes:
        found &= ~filled(hole, size)
    return found


def parts(inside: np.ndarray) -> list[set[tuple[int, int]]]:
    """Sets of pixels that share edges, by flooding."""
    left = {(int(row), int(column)) for row, column in np.argwhere(inside)}
    found = []
    while left:
        pending, part = [left.pop()], set()
        while pending:
            row, column = pending.pop()
            part.add((row, column))
            for other in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if other in left:
                    left.remove(other)
                    pending.append(other)
        found.append(part)
    return found


@settings(max_examples=200, deadline=None)
@given(MASKS, st.sampled_from([1, 2, 255]))
def test_regions_are_exactly_the_connected_pixels(mask: np.ndarray, value: int) -> None:
    found = [{(int(r), int(c)) for r, c in np.argwhere(pixels(each, mask.shape))} for each in regions(mask, value)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, parts(mask == value)))
    assert all(each.value == value for each in regions(mask, value))


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_opened_polygons_hold_the_same_pixels_for_pycocotools(mask: np.ndarray) -> None:
    rings = [Instance(v, Polygons((opened(each),))) for v in (1, 2, 255) for each in regions(mask, v)]
    assert (draw(rings, mask.shape) == mask).all()


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_corners_are_whole_and_every_one_turns(mask: np.ndarray) -> None:
    for region in regions(mask, 1):
        for ring in (region.outer, *region.holes):
            assert (ring == np.rint(ring)).all()
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps != 0).sum(axis=1) == 1).all()
            assert ((steps != 0) != (np.roll(steps, -1, axis=0) != 0)).all()
            assert ring.min() >= 0
            assert (ring.max(axis=0) <= mask.shape[::-1]).all()


def test_a_single_pixel_and_a_whole_image() -> None:
    mask = np.zeros((3, 4), dtype=np.uint8)
    mask[1, 2] = 7
    assert regions(mask, 7)[0].outer.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]]
    assert regions(np.full((3, 4), 7, dtype=np.uint8), 7)[0].outer.tolist() == [[0, 0], [4, 0], [4, 3], [0, 3]]
    assert regions(mask, 1) == []


def test_an_island_in_a_hole_in_an_island() -> None:
    mask = np.zeros((9, 9), dtype=np.uint8)
    mask[0:9, 0:9], mask[1:8, 1:8], mask[2:7, 2:7], mask[3:6, 3:6] = 1, 0, 1, 0
    mask[4, 4] = 1
    found = regions(mask, 1)
    assert [(each.box, len(each.holes)) for each in found] == [
        ((0, 0, 9, 9), 1),
        ((2, 2, 7, 7), 1),
        ((4, 4, 5, 5), 0),
    ]


def test_holes_side_by_side_and_one_above_another() -> None:
    mask = np.ones((7, 9), dtype=np.uint8)
    mask[1:6, 4] = mask[2, 1] = mask[4, 6:8] = 0
    found = regions(mask, 1)
    assert len(found) == 1
    assert len(found[0].holes) == 3
    assert (filled(opened(found[0]), mask.shape) == (mask == 1)).all()


def test_pixels_that_touch_in_a_corner_are_two_regions() -> None:
    assert len(regions(np.eye(3, dtype=np.uint8), 1)) == 3
    assert len(regions(1 - np.eye(2, dtype=np.uint8), 1)) == 2


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.0, 5.0])
def test_no_corner_is_further_from_a_simplified_ring_than_told(tolerance: float) -> None:
    rows, columns = np.mgrid[:80, :90]
    disc = (np.hypot(rows - 40, (columns - 45) / 1.3) < 30).astype(np.uint8)
    ring = regions(disc, 1)[0].outer
    found = simplified(ring, tolerance)
    assert len(found) < len(ring)
    start, end = found, np.roll(found, -1, axis=0)
    for point in ring:
        along = end - start
        share = np.clip(((point - start) * along).sum(axis=1) / (along**2).sum(axis=1), 0, 1)
        assert np.hypot(*(start + share[:, None] * along - point).T).min() <= tolerance + 1e-9


def test_without_tolerance_a_ring_stays_as_it_is() -> None:
    ring = regions(np.eye(3, dtype=np.uint8), 1)[0].outer
    assert simplified(ring, 0) is ring
    assert simplified(ring, 50) is ring  # a square
