from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft.data.faults import Faults
from deft.data.files import ImageFiles, image_files
from deft.data.layouts.outlines import Runs
from deft.data.layouts.photographs import (
    IGNORED,
    ExportedNames,
    Photograph,
    Thing,
    classes_in_order,
    fault_missing,
    held_out,
    outlined_images,
    stem_of,
)
from userfiles import picture

DOT = Runs(np.array([0, 1]), (1, 1))


def files(root: Path, *names: str) -> ImageFiles:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture())
    return image_files(root)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("b.png", "b.png"),
        ("b", "b.png"),
        ("one/a.png", "one/a.png"),
        ("two\\a.png", "two/a.png"),
        ("C:\\photos\\two\\a.png", "two/a.png"),
        ("/home/me/project/one/a.png", "one/a.png"),
        ("images/b.png", "b.png"),
        ("../../b.png", "b.png"),
        ("c.png", "deep/in/c.png"),
        ("in/c.png", "deep/in/c.png"),
        ("./b.png", "b.png"),
        ("a.png", None),
        ("three/a.png", None),
        ("d.png", None),
        ("", None),
        ("/", None),
        ("b.png/", "b.png"),
        ("a\0b", None),
    ],
)
def test_paths_of_another_computer_are_found_by_their_end(name: str, found: str | None, tmp_path: Path) -> None:
    images = files(tmp_path, "b.png", "one/a.png", "two/a.png", "deep/in/c.png")
    index = ExportedNames.of(images).find(name)
    assert (None if index is None else images.paths[index].relative_to(tmp_path).as_posix()) == found


def test_images_with_objects_that_have_no_outline_are_not_scored(tmp_path: Path) -> None:
    images = files(tmp_path, "a.png", "b.png", "c.png", "d.png", "e.png")
    things = [
        [Thing("cat", DOT)],
        [Thing("cat", DOT), Thing("dog")],
        [],
        [Thing("cat", DOT), Thing("cat", tag=True)],
        [Thing("dog", tag=True), Thing("cat", DOT), Thing("cow", DOT, ignored=True)],
    ]
    faults = Faults()
    photographs = [Photograph(index, each, (4, 6)) for index, each in enumerate(things)]
    data = outlined_images("x", images, photographs, ("cat", "dog"), [tmp_path / "a.json"], faults)
    assert data.scored.tolist() == [True, False, True, True, False]
    assert data.labels.astype(int).tolist() == [[1, 0], [1, 1], [0, 0], [1, 0], [1, 1]]
    assert [sample.mask is not None for sample in data] == data.scored.tolist()
    assert sorted(str(fault).split(": warning: ")[1][:40] for fault in faults.all) == [
        "1 of 5 images show no object of a class ",
        "2 of 5 images have objects without an ou",
    ]
    fewer = outlined_images("x", images, photographs, ("cat", "dog"), [tmp_path / "a.json"], Faults(), drop=True)
    assert fewer.names == ("a", "b", "d", "e")


def test_without_any_outline_nothing_is_scored(tmp_path: Path) -> None:
    images = files(tmp_path, "a.png", "b.png")
    faults = Faults()
    data = outlined_images("x", images, [Photograph(0, [Thing("cat")]), Photograph(1, [])], ("cat",), [], faults)
    assert not data.scored.any() and [sample.mask for sample in data] == [None, None] and len(faults.all) == 1


def test_classes_are_those_listed_or_all_that_occur(tmp_path: Path) -> None:
    photographs = [Photograph(0, [Thing("dog"), Thing("cat"), Thing("crowd", ignored=True)])]
    faults = Faults()
    assert classes_in_order(photographs, (), tmp_path, faults) == ("cat", "dog")
    assert classes_in_order(photographs, ("dog", "cat", "cow"), tmp_path, faults) == ("dog", "cat", "cow")
    assert faults.all == []
    assert classes_in_order(photographs, ("dog",), tmp_path / "a.txt", faults) == ("dog", "cat")
    assert "class 'cat' occurs but is not listed; list it in a.txt" in str(faults.all[0])


def test_images_to_hold_out_are_listed_in_val_txt(tmp_path: Path) -> None:
    images = files(tmp_path, "a.png", "b.png")
    assert held_out(tmp_path / "val.txt", images, Faults()) == frozenset()
    (tmp_path / "val.txt").write_text("b\nx\n")
    faults = Faults()
    assert held_out(tmp_path / "val.txt", images, faults) == {1}
    assert len(faults.all) == 1 and "val.txt:2: no image 'x'" in str(faults.all[0])


def test_missing_images_are_one_fault(tmp_path: Path) -> None:
    faults = Faults()
    fault_missing([], 3, tmp_path / "a.json", tmp_path, faults)
    assert faults.all == []
    fault_missing(["x.png", "y.png"], 3, tmp_path / "a.json", tmp_path, faults)
    assert "2 of the 3 images of a.json are missing, e.g. 'x.png'" in str(faults.all[0])


def test_the_stem_of_a_name_of_either_kind() -> None:
    assert [stem_of(name) for name in ("a/b.jpg", "a\\b.c.jpg", "b")] == ["b", "b.c", "b"]


def test_of_several_ends_the_one_that_is_a_whole_path_is_meant(tmp_path: Path) -> None:
    images = files(tmp_path, "b.png", "in/b.png", "in/deep/b.png")
    names = ExportedNames.of(images)
    found = {name: names.find(name) for name in ("/x/b.png", "/x/in/b.png", "C:\\in\\deep\\b.png", "other/deep/b.png")}
    assert [None if at is None else images.names[at] for at in found.values()] == [
        "b",
        "in/b",
        "in/deep/b",
        "in/deep/b",
    ]


def test_areas_to_ignore_are_no_class(tmp_path: Path) -> None:
    photographs = [Photograph(0, [Thing("cat"), Thing(IGNORED, ignored=True)])]
    assert classes_in_order(photographs, ("dog", IGNORED, "cat"), tmp_path, Faults()) == ("dog", "cat")
