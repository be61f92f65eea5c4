from __future__ import annotations

import pytest

from deft.data.faults import Faults
from deft.data.images import SUFFIXES
from deft.data.passed_over import UNREAD, PassedOver

FOLDERS = ["@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "__MACOSX", "System Volume Information", "@__thumb"]
HIDDEN = [".thumbnails", ".ipynb_checkpoints", ".@__thumb", ".Trash-1000", ".AppleDouble"]


@pytest.mark.parametrize("name", FOLDERS + HIDDEN)
def test_folders_of_systems_are_passed_over_and_told(name: str) -> None:
    passed, faults = PassedOver(), Faults()
    assert passed.skips_folder(name, f"root/cat/{name}")
    passed.tell("root", faults)
    assert [(fault.warning, name in fault.what) for fault in faults.all] == [(True, True)]


@pytest.mark.parametrize("name", [".git", ".svn", ".venv"])
def test_folders_nobody_looks_into_are_not_told(name: str) -> None:
    passed, faults = PassedOver(), Faults()
    assert passed.skips_folder(name, name)
    passed.tell("", faults)
    assert faults.all == []


@pytest.mark.parametrize("name", ["cat", "thumbs up", "recycle", "git", "Temporary"])
def test_folders_of_people_are_kept(name: str) -> None:
    assert not PassedOver().skips_folder(name, name)


def test_images_of_systems_are_told_and_other_hidden_files_are_not() -> None:
    passed, faults = PassedOver(), Faults()
    skipped = ["._a.jpg", ".hidden.PNG", "SYNOPHOTO_THUMB_M.jpg", "AlbumArt_{5FA0}_Large.jpg", ".DS_Store", ".nomedia"]
    assert [passed.skips_file(name, name) for name in skipped] == [True] * 6
    assert [passed.skips_file(name, name) for name in ("a.jpg", "Thumbs.db", "desktop.ini")] == [False] * 3
    passed.tell("", faults)
    assert [fault.what.split(",")[0] for fault in faults.all] == ["4 entries left out"]


def test_pictures_in_other_formats_are_counted_in_one_remark() -> None:
    passed, faults = PassedOver(), Faults()
    for name in ("a.CR2", "b.cr2", "c.psd", "d.jxl", "e.exr", "f.DNG", "notes.txt", "g.jpg"):
        assert not passed.skips_file(name, name)
    passed.tell("photos", faults)
    [fault] = faults.all
    assert fault.warning and "6 pictures in formats that are not read" in fault.what and "2 .cr2" in fault.what


def test_no_format_is_both_read_and_unread() -> None:
    assert not UNREAD & SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in UNREAD)
