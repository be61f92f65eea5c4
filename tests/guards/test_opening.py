from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.guards.opening import UnreadableError, check_regular, exists, is_folder, open_regular, read_most, read_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    for path in (tmp_path / "a", str(tmp_path / "b")):
        assert read_regular(path) == b"content"
        with open_regular(path) as file:
            assert file.read(3) == b"con"
        check_regular(path)


def test_more_bytes_than_there_are_need_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    with open_regular(tmp_path / "a") as file:
        assert file.read(2) == b"01"
        tracemalloc.start()
        assert file.read(2**32) == b"23456789" and file.read(2**32) == b""
        assert tracemalloc.get_traced_memory()[1] < 64e6
        tracemalloc.stop()
        file.seek(0)
        assert file.read() == b"0123456789"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's whole path has to be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


OTHERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "named pipe": (pipe, "got a named pipe"),
    "link to a pipe": (link_to_pipe, "got a named pipe"),
    "socket": (bound, "got a socket"),
    "folder": (lambda path: path.mkdir(), "got a folder"),
    "endless device": (link_to("/dev/zero"), "got a device"),
    "terminal": (link_to("/dev/tty"), "got a device"),
    "circle": (link_to("x"), "links lead in a circle"),
    "longer circle": (link_to("x/y/z"), "lead in a circle"),
    "link to nothing": (link_to("gone"), "a link to a file that is not there"),
    "nothing": (lambda path: None, r"cannot be opened \(No such file"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_anything_but_a_file_is_told_at_once(kind: str, tmp_path: Path) -> None:
    make, words = OTHERS[kind]
    make(tmp_path / "x")
    for read in (open_regular, read_regular, check_regular):
        with pytest.raises(UnreadableError, match=f"^{tmp_path}/x: .*{words}.*; ") as told:
            read(tmp_path / "x")
        assert str(told.value) == f"{tmp_path}/x: {told.value.what}; {told.value.remedy}"
        assert isinstance(told.value, InputError)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file/below"])
def test_names_that_no_file_can_have_are_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnreadableError):
        open_regular(tmp_path / name)
    assert not exists(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").touch(mode=0)
    with pytest.raises(UnreadableError, match="no permission to read it"):
        open_regular(tmp_path / "x")


def test_a_limit_is_kept(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1234")
    assert read_regular(tmp_path / "x", most=4) == b"1234"
    with pytest.raises(UnreadableError, match="expected at most 3 bytes, got more"):
        read_regular(tmp_path / "x", most=3)
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnreadableError, match="expected at most 268 MB, got more"):
        read_regular(tmp_path / "huge")


def test_a_name_is_escaped(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"/a\\n\\x1b\[31m: cannot be opened"):
        open_regular(tmp_path / "a\n\x1b[31m")


def test_a_link_to_nothing_is_there_and_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("gone")
    (tmp_path / "y").touch()
    assert exists(tmp_path / "x") and exists(tmp_path / "y") and not exists(tmp_path / "z")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("act", ["read_regular({path!r}, 2_000_000_000)", "read_most(open({path!r}, 'rb'), 2**30)"])
def test_a_small_file_needs_little_memory_whatever_may_be_read(act: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"[]")
    code = f"""
import resource
from deft.guards.opening import read_most, read_regular
pages = int(open("/proc/self/statm").read().split()[5])
resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + 64 * 2**20,) * 2)
print({act.format(path=str(path))})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "b'[]'\n", done.stderr


@pytest.mark.parametrize("most", [0, 1, 5, 10, 11, 100])
@pytest.mark.parametrize("expected", [0, 3, 10, 1000])
def test_as_many_bytes_are_read_as_there_are(most: int, expected: int) -> None:
    assert read_most(io.BytesIO(b"0123456789"), most, expected) == b"0123456789"[:most]


def test_a_folder_and_a_link_to_it_are_folders_and_nothing_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    assert is_folder(tmp_path / "a") and is_folder(str(tmp_path / "b"))
    assert not is_folder(tmp_path / "c") and not is_folder(tmp_path / "\0")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.touch(), "expected a folder, got a file"),
        (pipe, "expected a folder, got a named pipe"),
        (link_to("/dev/zero"), "expected a folder, got a device"),
        (link_to("x"), "links lead in a circle"),
        (link_to("gone"), "a link to a folder that is not there"),
    ],
)
def test_what_is_no_folder_is_told(make: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    make(tmp_path / "x")
    with pytest.raises(UnreadableError, match=told) as caught:
        is_folder(tmp_path / "x")
    assert caught.value.path == tmp_path / "x" and caught.value.remedy
