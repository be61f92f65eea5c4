from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.guards.output import check_out, make_folder, refuse_link, refuse_links


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of photographs and masks."""
    for folder in ("images/inner", "masks"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
    (tmp_path / "photos" / "images" / "a.jpg").touch()
    (tmp_path / "links").symlink_to("photos/images")
    (tmp_path / "up").symlink_to(".")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("out", "how"),
    [
        ("photos", "is"),
        ("photos/../photos/.", "is"),
        ("photos/masks", "lies inside"),
        ("photos/images/r", "lies inside"),
        ("photos/new/deeper", "lies inside"),
        ("links/r", "lies inside"),
        ("up/photos/r", "lies inside"),
        ("up/up/photos", "is"),
        (".", "contains"),
        ("..", "contains"),
        ("up", "contains"),
        ("photos/..", "contains"),
    ],
)
def test_results_stay_apart_from_data_however_it_is_spelt(
    out: str, how: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    for place in (Path(out), data.parent / out):
        with pytest.raises(InputError, match=f"expected another folder than that of the data, got one that {how} "):
            check_out(place, [data])
    check_out(Path("results"), [data])
    check_out(Path("photos2"), [data])  # begins with the same letters


def test_links_in_the_data_lead_to_data(data: Path, tmp_path: Path) -> None:
    (tmp_path / "store" / "sub").mkdir(parents=True)
    (tmp_path / "store" / "b.jpg").touch()
    (data / "images" / "b.jpg").symlink_to(tmp_path / "store" / "b.jpg")
    (data / "images" / "more").symlink_to(tmp_path / "store" / "sub")
    reads = [data, data / "images" / "b.jpg", data / "images" / "more"]
    for out, how in (("store", "contains"), ("store/sub", "is"), ("store/sub/r", "lies inside")):
        with pytest.raises(InputError, match=how):
            check_out(tmp_path / out, reads)
    check_out(tmp_path / "store" / "r", reads)


def test_beside_one_photograph_there_is_room(data: Path) -> None:
    one = data / "images" / "a.jpg"
    check_out(data / "images" / "out", [one])
    with pytest.raises(InputError, match="contains"):
        check_out(data / "images", [one])


def test_a_folder_of_data_that_is_not_there_yet_is_kept_free(tmp_path: Path) -> None:
    for out in ("photos/masks", "photos/masks/r", "photos"):
        with pytest.raises(InputError, match="expected another folder"):
            check_out(tmp_path / out, [tmp_path / "photos" / "masks"])


def test_a_file_is_written_beside_data_and_not_among_it(data: Path) -> None:
    check_out(data.parent / "a.tgz", [data], folder=False)
    with pytest.raises(InputError, match="expected another place than that of the data, got one that lies inside"):
        check_out(data / "a.tgz", [data], folder=False)
    with pytest.raises(InputError, match="expected a file, got a folder"):
        check_out(data, [], folder=False)


def linked(target: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (root / "x").symlink_to(target)
        return root / "x"

    return make


def below_a_file(root: Path) -> Path:
    (root / "x").touch()
    return root / "x" / "y" / "z"


def a_file(root: Path) -> Path:
    (root / "x").touch()
    return root / "x"


PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "file": (a_file, "expected a folder, got a file"),
    "below a file": (below_a_file, "expected a path through folders, got .*x, a file"),
    "dangling link": (linked("gone"), "a link to gone, which is not there"),
    "circle": (linked("x"), "cannot be used"),
    "link to a file": (lambda root: linked("/etc/hostname")(root), "expected a folder, got a file"),
    "device": (lambda root: Path("/dev/null"), "expected a folder, got a file"),
    "long name": (lambda root: root / ("n" * 300), "cannot be used|cannot be made"),
    "long name inside": (lambda root: root / ("n" * 300) / "r", "cannot be used|cannot be made"),
    "zero byte": (lambda root: root / "a\0b", "no name that a file can have"),
    "made by the system": (lambda root: Path("/proc/deft_results"), "cannot be made|no permission"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_place_that_cannot_be_written_to_is_told(kind: str, tmp_path: Path) -> None:
    make, words = PLACES[kind]
    out = make(tmp_path)
    with pytest.raises(InputError, match=f"^--out .*({words})"):
        check_out(out)
        make_folder(out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_without_permission_is_told(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    for out in ("theirs", "theirs/r", "theirs/r/s"):
        with pytest.raises(InputError, match=r"no permission to write in .*theirs; change permissions"):
            check_out(tmp_path / out)


def test_a_full_disk_is_no_fault_of_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        make_folder(tmp_path / "r")


def test_nothing_is_made_by_a_check(tmp_path: Path) -> None:
    check_out(tmp_path / "a" / "b", [tmp_path / "c"])
    assert not list(tmp_path.iterdir())
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_links_among_results_are_named_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "r" / "seeds").mkdir(parents=True)
    (tmp_path / "r" / "seeds" / "a.npz").touch()
    refuse_links(tmp_path / "r")
    (tmp_path / "r" / "seeds" / "train").symlink_to(tmp_path)
    with pytest.raises(
        InputError, match=r"r/seeds/train: expected a file or folder of its own, got a link to .*remove"
    ):
        refuse_links(tmp_path / "r")


def test_a_pipe_among_results_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(InputError, match="got a named pipe or a device"):
        refuse_link(tmp_path / "lock")
