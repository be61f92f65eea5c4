"""What a writer is given: places, names of values, and the shapes that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from deft.contracts import InputError
from deft.export.picture import Picture, Place, Style
from export_runs import CLASSES, awkward

PICTURE = Picture(Place("a/b", ".jpg", "train"), awkward((40, 50), 1))


def test_a_place_and_a_picture_know_their_file_and_size() -> None:
    assert PICTURE.place.file == "a/b.jpg"
    assert PICTURE.size == (40, 50)


def test_values_have_names() -> None:
    style = Style(CLASSES)
    assert [style.name(value) for value in (1, 2, 3, 255)] == [*CLASSES, "__ignore__"]


@pytest.mark.parametrize(
    ("shapes", "usual", "polygons"),
    [("", "masks", 0), ("polygons", "masks", 1), ("masks", "polygons", 0), ("", "polygons", 1)],
)
def test_the_usual_shapes_are_those_of_the_format(shapes: str, usual: str, polygons: int) -> None:
    found = Style(CLASSES, shapes).shapes_of(PICTURE, usual)
    assert any(each.polygon is not None for each in found) == bool(polygons)
    cut = Style(CLASSES, shapes).shapes_of(PICTURE, usual, cut=True)
    assert all(each.polygon is not None for each in cut) == bool(polygons)


def test_the_tolerance_is_that_of_the_style() -> None:
    rows, columns = np.mgrid[:200, :200]
    picture = Picture(PICTURE.place, (np.hypot(rows - 90, columns - 90) < 70).astype(np.uint8))
    corners = [len(Style(CLASSES, tolerance=t).shapes_of(picture)[0].polygon) for t in (0.0, 2.0)]  # type: ignore[arg-type]
    assert corners[0] > 3 * corners[1]


def test_polygons_are_refused_where_there_are_none() -> None:
    with pytest.raises(InputError, match="--shapes polygons: this layout holds masks alone"):
        Style(CLASSES, "polygons").refuse_polygons("this layout")
    Style(CLASSES, "masks").refuse_polygons("this layout")
