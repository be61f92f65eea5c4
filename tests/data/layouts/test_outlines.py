from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft.contracts import InputError
from deft.data.layouts.outlines import (
    Instance,
    Polygons,
    Runs,
    draw,
    ellipse,
    read_ring,
    read_segmentation,
    require_pycocotools,
)
from deft.data.layouts.run_lengths import checked_counts, counts_to_text, mask_to_counts
from fakes import uninstall
from userfiles import polygon, run_lengths

mask_module = pytest.importorskip("pycocotools.mask")

SIZE = (20, 30)
SQUARE = np.zeros(SIZE, dtype=bool)
SQUARE[4:12, 5:15] = True
RING = [5, 4, 15, 4, 15, 12, 5, 12]
PAIRS = [[5, 4], [15, 4], [15, 12], [5, 12]]


def pixels(value: Any, size: tuple[int, int] = SIZE) -> np.ndarray:
    """What is drawn of a field ``segmentation``."""
    return draw([Instance(1, read_segmentation(value, size))], size) == 1


@pytest.mark.parametrize(
    "value",
    [
        [RING],
        RING,
        PAIRS,
        [PAIRS],
        [RING, []],
        [RING, [7, 5, 9, 5]],
        [[float(x) for x in RING]],
        [[str(x) for x in RING]],
        json.dumps([RING]),
        str([PAIRS]),
        [[*RING, 5, 4]],
        {"size": [20, 30], "counts": mask_to_counts(SQUARE)},
        {"size": [20.0, "30"], "counts": [float(x) for x in mask_to_counts(SQUARE)]},
        {"size": [20, 30], "counts": counts_to_text(mask_to_counts(SQUARE))},
        json.dumps({"size": [20, 30], "counts": mask_to_counts(SQUARE)}),
    ],
)
def test_every_way_to_write_an_outline_is_read(value: Any) -> None:
    np.testing.assert_array_equal(pixels(value), SQUARE)


@pytest.mark.parametrize("value", [None, math.nan, "", "NaN", [], {}, [[]], [[], []], "[]"])
def test_nothing_is_no_outline(value: Any) -> None:
    assert read_segmentation(value, SIZE) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([10], "pairs of coordinates, got 1"),
        ([[10]], "pairs of coordinates, got 1"),
        ([[*RING, 3]], "pairs of coordinates, got 9"),
        ([3, 4, 5, 6], "a list of polygons"),
        ([[*RING[:-1], math.nan]], "not a finite number"),
        ([[*RING[:-1], None]], "not a finite number"),
        ([[*RING[:-1], math.inf]], "not a finite number"),
        ([[*RING[:-1], 10**400]], "coordinates that are numbers"),
        ([[*RING[:-1], "x"]], "coordinates that are numbers"),
        ([[*RING[:-1], {}]], "coordinates that are numbers"),
        ([[*RING[:-1], [1]]], "coordinates that are numbers"),
        ([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], "points of two coordinates"),
        ([{"x": 1, "y": 2}], "coordinates that are numbers"),
        (["abc"], "coordinates that are numbers"),
        ("abc", "polygons or run lengths, got 'abc'"),
        (0, "polygons or run lengths, got 0"),
        (True, "polygons or run lengths, got True"),
        ({"counts": [600]}, "a size [height, width], got None"),
        ({"size": [20], "counts": [600]}, "a size [height, width]"),
        ({"size": [20, -30], "counts": [600]}, "a size [height, width]"),
        ({"size": [20, 30]}, "no counts"),
        ({"size": [20, 30], "counts": None}, "as a list or as text"),
        ({"size": [30, 20], "counts": [600]}, "its run lengths are 20 x 30, its image 30 x 20"),
        ({"size": [20, 30], "counts": [599]}, "add up to 599"),
        ({"size": [20, 30], "counts": [700, -100]}, "0 and more"),
        ({"size": [20, 30], "counts": "PPP"}, "cut short"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "its run lengths are"),
    ],
)
def test_what_is_no_outline_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_segmentation(value, SIZE)
    assert words in str(caught.value)


@pytest.mark.parametrize("far", [1e3, 1e5, 1e9, 10**30, 1e300, 1.7e308])
def test_a_polygon_far_outside_is_cut_off_before_it_is_drawn(far: float, monkeypatch: pytest.MonkeyPatch) -> None:
    original, handed = mask_module.frPyObjects, []

    def record(polygons: list[list[float]], height: int, width: int) -> Any:
        handed.extend(abs(value) for each in polygons for value in each)
        return original(polygons, height, width)

    monkeypatch.setattr(mask_module, "frPyObjects", record)  # its memory grows with the length of an edge
    assert pixels([[-far, -far, far, -far, far, far, -far, far]]).all()
    assert not pixels([[far, far, 2 * far if far < 1e308 else far, far, far, far / 2]]).any()
    half = pixels([[10, -far, far, -far, far, far, 10, far]])
    assert half[:, 11:].all() and not half[:, :10].any()
    assert max(handed) < max(far, 100) and max(handed) < 1001


def test_cutting_off_changes_nothing_within_the_image() -> None:
    triangle = np.array([[3.0, 2.0], [4000.0, 1000.0], [2.0, 18.0]])
    columns, rows = np.meshgrid(np.arange(30) + 0.5, np.arange(20) + 0.5)
    upper = (rows - 2) - (columns - 3) * 998 / 3997
    lower = (rows - 18) - (columns - 2) * 982 / 3998
    left = (columns - 3) * 16 + (rows - 2)
    inside = (upper > 0) & (lower < 0) & (left > 0)
    drawn = draw([Instance(1, Polygons((triangle,)))], SIZE) == 1
    assert (drawn != inside).mean() < 0.04 and drawn.any()


def test_an_object_is_seen_before_a_crowd_and_a_point_encloses_nothing() -> None:
    size = (20, 20)
    crowd = Instance(255, read_segmentation(run_lengths((0, 0, 20, 4), size), size))
    thing = Instance(1, read_segmentation(polygon((0, 0, 20, 20)), size))
    assert (draw([thing, crowd], size) == 1).all()
    assert not draw([Instance(1, read_segmentation([[3, 3, 9, 9]], size)), Instance(1, None)], size).any()


def test_small_objects_are_above_large_ones_of_either_kind() -> None:
    large = Instance(1, read_segmentation(polygon((0, 0, 20, 20)), SIZE))
    small = Instance(2, Runs(np.array([0, 4]), (2, 2), corner=(5, 6)))
    for order in ([large, small], [small, large]):
        mask = draw(order, SIZE)
        assert (mask == 2).sum() == 4 and (mask[6:8, 5:7] == 2).all() and mask[0, 0] == 1


@pytest.mark.parametrize("corner", [(-1, -1), (28, 18), (-50, 3), (10**12, -(10**12))])
def test_run_lengths_within_a_box_are_cut_at_the_border(corner: tuple[int, int]) -> None:
    box = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
    counts = checked_counts(mask_to_counts(box, columns=False), (3, 3))
    drawn = draw([Instance(1, Runs(counts, (3, 3), corner, columns=False))], SIZE)
    expected = {
        (corner[1] + y, corner[0] + x)
        for y, x in np.argwhere(box).tolist()
        if 0 <= corner[1] + y < SIZE[0] and 0 <= corner[0] + x < SIZE[1]
    }
    assert {(y, x) for y, x in np.argwhere(drawn).tolist()} == expected


def test_relative_polygons_follow_the_size_of_the_image() -> None:
    ring = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]])
    for height, width in ((20, 30), (7, 100)):
        mask = draw([Instance(3, Polygons((ring,), relative=True))], (height, width))
        assert (mask[:, : width // 2] == 3).all() and not mask[:, width // 2 + 1 :].any()


def test_an_ellipse_has_its_axes_and_turns_clockwise() -> None:
    corners = ellipse(10, 20, 8, 4)
    assert corners.max(axis=0) == pytest.approx([18, 24]) and corners.min(axis=0) == pytest.approx([2, 16])
    upright = ellipse(10, 20, 8, 4, degrees=90)
    assert upright.max(axis=0) == pytest.approx([14, 28])
    tilted = ellipse(0, 0, 8, 0, degrees=30)
    assert tilted[0] == pytest.approx([8 * math.cos(math.pi / 6), 4])  # y points down


def test_points_in_pairs_or_in_a_row_are_the_same() -> None:
    assert read_ring(RING).tolist() == read_ring(PAIRS).tolist() == PAIRS


def test_without_pycocotools_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_pycocotools("coco")
    uninstall("pycocotools", monkeypatch)
    with pytest.raises(InputError, match=r"labelme: .* pip install 'deft-wsss\[coco\]'"):
        require_pycocotools("labelme")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(*[st.one_of(st.floats(-15, 17), st.integers(-75, 85).map(lambda n: n / 5 + 0.1))] * 2),
            min_size=3,
            max_size=8,
        ),
        min_size=1,
        max_size=3,
    ),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_drawing_in_a_box_is_drawing_in_the_image(
    rings: list[list[tuple[float, float]]], size: tuple[int, int]
) -> None:
    flat = [[number for point in ring for number in point] for ring in rings]
    whole = mask_module.decode(mask_module.merge(mask_module.frPyObjects(flat, *size)))
    outline = Polygons(tuple(np.array(ring) for ring in rings))
    assert (draw([Instance(1, outline)], size) == whole).all()
