from __future__ import annotations

import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from deft.engine import workers
from deft.engine.workers import bearable, open_files, shared_bytes

MB = 10**6


def told(monkeypatch: pytest.MonkeyPatch, shared: int | None, files: int | None) -> None:
    monkeypatch.setattr(workers, "shared_bytes", lambda: shared)
    monkeypatch.setattr(workers, "open_files", lambda: files)


@pytest.mark.parametrize(
    ("shared", "files", "wanted", "number", "reason"),
    [
        (None, None, 2, 2, ""),
        (10**10, 20000, 2, 2, ""),
        (1 * MB, None, 2, 0, "/dev/shm has 1 MB free, and 1 would need 80 MB"),
        (0, None, 1, 0, "/dev/shm has 0 MB free"),
        (64 * MB, 1024, 2, 0, "1 would need 80 MB; enlarge it"),
        (80 * MB, None, 2, 1, "2 would need 120 MB"),
        (120 * MB, None, 2, 2, ""),
        (None, 64, 2, 0, "64 files may be open, and 1 would need about 84; raise the limit"),
        (None, 90, 2, 1, "2 would need about 98"),
        (None, 256, 2, 2, ""),
        (1 * MB, 64, 0, 0, ""),
    ],
)
def test_only_as_many_as_the_machine_bears(
    shared: int | None, files: int | None, wanted: int, number: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, shared, files)
    found, why = bearable(wanted, lambda: (20 * MB, 3))
    assert found == number
    assert reason in why and bool(why) == bool(reason)


def test_no_image_is_read_where_there_is_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    def batch() -> tuple[int, int]:
        raise AssertionError("nothing is scarce")

    told(monkeypatch, 10**10, None)
    assert bearable(2, batch) == (2, "")
    told(monkeypatch, 1, 1)
    assert bearable(0, batch) == (0, "")


def test_shared_memory_is_that_of_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(workers, "_SHARED", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(3, 2, 1))
    assert shared_bytes() == 1
    monkeypatch.setattr(workers, "_SHARED", tmp_path / "none")
    assert shared_bytes() == 0
    monkeypatch.setattr(sys, "platform", "darwin")
    assert shared_bytes() is None


def test_open_files_are_what_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (77, 100))
    assert open_files() == 77
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert open_files() is None
    monkeypatch.setitem(sys.modules, "resource", None)
    assert open_files() is None
