from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deft.doctor.storage import Storage, can_write, try_storage


def test_a_good_disk_can_do_everything(tmp_path: Path) -> None:
    found = try_storage(tmp_path / "runs" / "mine")
    assert found == Storage(tmp_path / "runs" / "mine", "", found.free, True, True, True, True)
    assert found.free > 0
    assert not list(tmp_path.iterdir())  # nothing is left behind


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_storage_without_hard_links(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    found = try_storage(tmp_path)
    assert not found.links and found.replaces and not found.trouble


def test_a_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "link")
    assert not try_storage(tmp_path).links


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_storage_without_locks(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    found = try_storage(tmp_path)
    assert not found.locks and found.links


def test_storage_that_renames_over_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(os, "replace", refuse)
    assert not try_storage(tmp_path).replaces


@pytest.mark.parametrize(
    ("place", "trouble"), [("file", "expected a folder, got a file"), ("file/below", "expected a path through folders")]
)
def test_a_place_that_is_none(place: str, trouble: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert trouble in try_storage(tmp_path / place).trouble
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_or_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    assert "nothing can be written there (Read-only file system); name" in try_storage(tmp_path).trouble


def test_where_a_file_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_write(tmp_path)
    assert can_write(tmp_path / "not" / "there")

    def refuse(*given: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert not can_write(tmp_path)
