from __future__ import annotations

from pathlib import Path

import pytest

from deft.data.faults import Faults
from deft.data.files import image_files
from deft.data.layouts.class_folders import Tagged, read_class_folders, split_folders


def read(root: Path, *names: str) -> tuple[Tagged | None, Faults]:
    """The tags of files whose contents are their names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    faults = Faults()
    return read_class_folders(image_files(root), faults), faults


def tags(found: Tagged | None) -> dict[str, tuple[tuple[str, ...], bool]]:
    assert found is not None
    held = [False] * len(found.rows) if found.held_out is None else found.held_out.tolist()
    return {row.name: (row.tags, out) for row, out in zip(found.rows, held, strict=True)}


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "val"), ("Train", "Valid"), ("training", "validation"), ("train", "test"), ("TRAIN", "dev")],
)
def test_splits_over_folders_for_tags_are_read(train: str, val: str, tmp_path: Path) -> None:
    found, faults = read(tmp_path, f"{train}/cat/a.jpg", f"{train}/dog/b.jpg", f"{val}/cat/c.jpg")
    assert tags(found) == {
        f"{train}/cat/a": (("cat",), False),
        f"{train}/dog/b": (("dog",), False),
        f"{val}/cat/c": (("cat",), True),
    }
    [remark] = faults.all
    assert remark.warning and f"{val}/ as held-out" in remark.what


def test_test_is_left_out_next_to_val_and_images_without_tag_folder_as_well(tmp_path: Path) -> None:
    found, faults = read(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg", "test/cat/c.jpg", "test/d.jpg", "val/e.jpg")
    assert tags(found) == {"train/cat/a": (("cat",), False), "val/cat/b": (("cat",), True)}
    said = " ".join(fault.what for fault in faults.all)
    assert "2 images in test/ left out" in said and "1 image in val/ left out" in said and not faults.errors


@pytest.mark.parametrize(
    "names", [("train/a.jpg", "bus/b.jpg"), ("train/steam/a.jpg", "bus/b.jpg"), ("test/a.jpg", "c/b.jpg")]
)
def test_a_tag_may_be_called_like_a_split(names: tuple[str, ...], tmp_path: Path) -> None:
    found, faults = read(tmp_path, *names)
    assert [tag for row, _ in tags(found).values() for tag in row] == [name.split("/")[0] for name in sorted(names)]
    assert faults.all == []


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (("train/a.jpg", "val/b.jpg"), "without such folders"),
        (("train/a.jpg",), "one folder for each tag in train/"),
        (("val/cat/a.jpg", "test/cat/b.jpg"), "one folder for each tag in train/"),
        (("train/cat/a.jpg", "val/cat/b.jpg", "unlabelled/c.jpg"), "next to 'unlabelled'"),
    ],
)
def test_splits_that_cannot_be_read_are_one_fault(names: tuple[str, ...], word: str, tmp_path: Path) -> None:
    found, faults = read(tmp_path, *names)
    assert found is None
    [fault] = faults.errors
    assert word in fault.what and fault.remedy


def test_copies_are_merged_within_a_split_and_not_across(tmp_path: Path) -> None:
    for name in ("train/cat/a.jpg", "train/dog/a.jpg", "val/cat/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("the same")
    found, _ = read(tmp_path)
    assert tags(found) == {"train/cat/a": (("cat", "dog"), False), "val/cat/a": (("cat",), True)}


def test_many_images_outside_of_the_folders_are_one_fault(tmp_path: Path) -> None:
    _, faults = read(tmp_path, "cat/a.jpg", *(f"{k}.jpg" for k in range(5)))
    [fault] = faults.errors
    assert "found it outside (and 4 more)" in fault.what


def test_folders_that_are_splits(tmp_path: Path) -> None:
    for name in ("train/a.jpg", "val/b.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert split_folders(image_files(tmp_path)) == {"train": "train", "val": "val"}
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "c.jpg").touch()
    assert split_folders(image_files(tmp_path)) == {}
