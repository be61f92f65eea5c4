from __future__ import annotations

import os
from pathlib import Path

import pytest

from deft.data.faults import Faults
from deft.data.files import expected_images, files_below, image_files


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_names_lose_their_suffix_where_that_is_unique(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "b.PNG", "sub/a.jpg", "notes.txt", ".hidden.jpg")
    images = image_files(tmp_path)
    assert images.names == ("a", "b.PNG", "b.jpg", "sub/a")
    assert [images.find(name) for name in ("a", "a.jpg", "b", "b.jpg", "sub/a", "sub\\a.jpg", "c")] == [
        (0,), (0,), (1, 2), (2,), (3,), (3,), (),
    ]  # fmt: skip


def test_names_are_unique_even_where_a_suffix_looks_like_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "a.jpg.png")
    images = image_files(tmp_path)
    assert images.names == ("a.jpg", "a.jpg.png", "a.png")
    assert images.find("a.jpg") == (0,) and images.find("a.jpg.png") == (1,) and images.find("a") == (0, 2)


def test_a_name_that_means_nothing_or_too_much_is_a_fault_with_its_line(tmp_path: Path) -> None:
    touch(tmp_path, "holiday.jpg", "b.jpg", "b.png")
    images, faults = image_files(tmp_path), Faults()
    assert images.find_or_fault("holidy", faults, tmp_path / "list.txt", 4) is None
    assert images.find_or_fault("b", faults, tmp_path / "list.txt", 5) is None
    assert images.find_or_fault("b.png", faults, tmp_path / "list.txt", 6) == 1 + images.names.index("b.jpg")
    assert "list.txt:4: no image 'holidy'" in str(faults.all[0]) and "'holiday'" in str(faults.all[0])
    assert "list.txt:5: 'b' may mean 'b.jpg' and 'b.png'" in str(faults.all[1])


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg", "root/b.jpg")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root", target_is_directory=True)
    assert sorted(path.name for path in files_below(tmp_path / "root")) == ["a.jpg", "b.jpg"]
    assert [path.name for path in files_below(tmp_path, skip=frozenset({"real"}))].count("b.jpg") == 1


def test_merging_lets_one_image_stand_for_others(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.jpg", "y/a.jpg", "y/b.jpg", "z.jpg")
    merged = image_files(tmp_path).merged({0: 0, 1: 0, 2: 2})
    assert merged.names == ("x/a", "y/b")
    assert [merged.find(name) for name in ("x/a", "y/a.jpg", "y/b", "z")] == [(0,), (0,), (1,), ()]


def test_what_systems_leave_beside_photographs_is_left_out_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "cat/@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/cat/b.png", "$RECYCLE.BIN/c.png")
    touch(tmp_path, ".thumbnails/a.png", "cat/._a.png", "cat/Thumbs.db", ".git/d.png", "cat/e.cr2", "cat/f.psd")
    faults = Faults()
    assert image_files(tmp_path, faults=faults).names == ("cat/a",)
    left, unread = faults.all
    assert left.warning and left.what.startswith("5 entries left out") and "'$RECYCLE.BIN'" in left.what
    assert unread.warning and "2 pictures" in unread.what and ".psd" in unread.what


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_links_in_circles_and_pipes_are_left_out_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png")
    os.symlink("loop", tmp_path / "loop")
    os.symlink("two.png", tmp_path / "one.png")
    os.symlink("one.png", tmp_path / "two.png")
    os.symlink("..", tmp_path / "cat" / "up")
    os.symlink("nowhere.png", tmp_path / "cat" / "gone.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    faults = Faults()
    assert image_files(tmp_path, faults=faults).names == ("cat/a", "cat/gone")
    assert ["which cannot be entered: 'loop', 'one.png', 'two.png'" in str(faults.all[0]), len(faults.all)] == [True, 2]
    assert "no regular files: 'cat/pipe.png'" in str(faults.all[1])


def test_a_folder_that_may_not_be_read_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "cat/a.png", "closed/b.png")
    whole = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name in ("closed", "all closed"):
            raise PermissionError(13, "Permission denied", path)
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    faults = Faults()
    assert image_files(tmp_path, faults=faults).names == ("cat/a",)
    assert [fault.warning and "'closed'" in fault.what for fault in faults.all] == [True]
    (tmp_path / "all closed").mkdir()
    with pytest.raises(PermissionError):
        image_files(tmp_path / "all closed")


def test_images_that_need_not_be_there_are_found_by_name_and_file(tmp_path: Path) -> None:
    names, stems = ("a", "in/b?", "c.jpg", "c"), ("a", "in/b%3F", "c.jpg", "c")
    images = expected_images(tmp_path / "nowhere", names, stems, (".jpg", ".PNG", ".jpg", ".png"))
    assert images.names == names
    assert images.paths[1] == tmp_path / "nowhere" / "in" / "b%3F.PNG"
    assert [images.find(name) for name in ("a", "a.jpg", "./a")] == [(0,)] * 3
    assert [images.find(name) for name in ("in/b?", "in\\b?.PNG", "in/b%3F", "in/b%3F.PNG")] == [(1,)] * 4
    assert [images.find(name) for name in ("c.jpg", "c.jpg.jpg", "c", "c.png", "d")] == [(2,), (2,), (3,), (3,), ()]
