from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from deft.artifacts import OutFolder
from deft.contracts import InputError
from deft.data.images import Scaled
from deft.predict.photographs import (
    SHOWN,
    Files,
    for_photographs,
    photographs,
    reads,
    refuse_left_out,
    tag_indices,
    tags_of_files,
    tags_of_keys,
)


def test_one_photograph_or_all_in_a_folder(own_folder: Path, tmp_path: Path) -> None:
    images = own_folder / "images"
    assert len(photographs(images).paths) == 6
    assert photographs(images / "img_02.png").names == ("img_02",)
    for wrong in (own_folder / "labels.csv", tmp_path / "nothing"):
        with pytest.raises(InputError, match="expected a photograph or a folder that holds some"):
            photographs(wrong)


def test_one_photograph_is_read_whatever_lies_beside_it(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = own_folder / "images"
    (images / "img_01.jpg").write_bytes(b"no image")
    (images / "round").symlink_to("round")
    (images / "deep" / "deeper").mkdir(parents=True)

    def scandir(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("deft.data.files.os.scandir", scandir)
    monkeypatch.setattr("deft.predict.photographs.image_files", scandir)
    found = photographs(images / "img_02.png")
    assert (found.names, found.paths) == (("img_02",), (images / "img_02.png",))
    assert photographs(images / "img_01.png").names in (("img_01.png",), ("img_01",))


def test_what_is_read_is_the_photographs_and_the_table(own_folder: Path, tmp_path: Path) -> None:
    images, elsewhere = own_folder / "images", tmp_path / "elsewhere.png"
    (images / "img_02.png").rename(elsewhere)
    (images / "img_02.png").symlink_to(elsewhere)
    assert set(reads(images, photographs(images), None)) == {images, images / "img_02.png"}
    one = images / "img_01.png"
    assert list(reads(one, photographs(one), own_folder / "labels.csv")) == [one, own_folder / "labels.csv"]


def test_tables_of_tags(own_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes, found = ("cat", "cow", "dog"), photographs(own_folder / "images")
    table = tmp_path / "tags.json"
    table.write_text('{"img_01": ["dog"], "img_03.png": []}')
    assert tags_of_files(table, found, classes) == {1: ("dog",), 3: ()}
    assert tags_of_keys(table, classes) == {"img_01": ("dog",), "img_03.png": ()}
    assert tags_of_files(None, found, classes) == tags_of_keys(None, classes) == {}
    table.with_suffix(".csv").write_text("file_name,tags\n/home/x/img_01.PNG,cat|dog\n/home/x/img_02.PNG,-\n")
    assert tags_of_files(table.with_suffix(".csv"), found, classes) == {1: ("cat", "dog"), 2: ()}
    assert "read as 'img_01'" in capsys.readouterr().err
    table.write_text('{"img_9": ["dog"]}')
    with pytest.raises(InputError, match="no image 'img_9'"):
        tags_of_files(table, found, classes)
    with pytest.raises(InputError, match="there is no such file"):
        tags_of_keys(tmp_path / "other.csv", classes)


def test_tags_are_indices() -> None:
    assert tag_indices(["dog", "cat", "dog"], ("cat", "cow", "dog")) == (0, 2)
    with pytest.raises(InputError, match="'horse' is no class of this network; it knows cat"):
        tag_indices(["horse"], ("cat",))


def test_what_is_left_out_is_named_up_to_a_point() -> None:
    refuse_left_out([], 3)
    with pytest.raises(InputError) as told:
        refuse_left_out([f"{index}.png: damaged" for index in range(SHOWN + 2)], 100)
    lines = str(told.value).splitlines()
    assert lines[0] == f"{98 - SHOWN} of 100 photographs are done; these cannot be read:"
    assert lines[-2:] == [f"{SHOWN - 1}.png: damaged", "... and 2 more"]


def test_readable_photographs_are_worked_on_and_the_others_named(own_folder: Path, tmp_path: Path) -> None:
    images = own_folder / "images"
    found = photographs(images)
    out = OutFolder(tmp_path / "out", [images], [f"{index}.txt" for index in range(6)])

    def work(index: int, read: Scaled) -> Files:
        return {f"{index}.txt": str(read.pixels.shape).encode()}

    assert for_photographs(found, images, cast(Any, lambda found: work), out, "look") == 6
    assert {path.name: path.read_text() for path in out.path.glob("*.txt")} == {
        f"{index}.txt": "(16, 16, 3)" for index in range(6)
    }
    (images / "img_02.png").write_bytes(b"no image")
    for path in out.path.glob("*.txt"):
        path.unlink()
    with pytest.raises(InputError, match=r"5 of 6 photographs are done; these cannot be read:\n.*img_02\.png"):
        for_photographs(found, images, cast(Any, lambda found: work), out, "look")
    assert sorted(path.stem for path in out.path.glob("*.txt")) == ["0", "1", "3", "4", "5"]


@pytest.mark.parametrize("kind", ["system folder", "link in a circle", "pipe", "format"])
def test_what_is_left_out_of_a_folder_is_told_once(
    kind: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = own_folder / "images"
    if kind == "system folder":
        (images / "@eaDir").mkdir()
        words = "left out, hidden, or made by a system or program: '@eaDir'"
    elif kind == "link in a circle":
        (images / "round").symlink_to("round", target_is_directory=True)
        words = "left out, which cannot be entered: 'round'"
    elif kind == "pipe":
        os.mkfifo(images / "new.png")
        words = "left out, no regular files: 'new.png'"
    else:
        (images / "a.psd").touch()
        words = "1 picture in formats that are not read, left out (1 .psd)"
    assert len(photographs(images).paths) == 6
    assert capsys.readouterr().err == ""
    assert len(photographs(images, tell=True).paths) == 6
    assert capsys.readouterr().err.count(words) == 1
