from __future__ import annotations

import os
from pathlib import Path

from deft.data.pointers import ANNEX, LFS, pointer_at, pointer_in

LFS_TEXT = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def test_pointers_are_known_by_their_contents() -> None:
    assert pointer_in(LFS_TEXT) is LFS
    assert pointer_in(b"/annex/objects/SHA256E-s31390--f50d.png\n") is ANNEX
    assert pointer_in(b"version 2") is None and pointer_in(b"") is None
    assert pointer_in(LFS_TEXT + b"x" * 2000) is None


def test_pointers_are_known_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "lfs.jpg").write_bytes(LFS_TEXT)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" + bytes(3000))
    os.symlink("../.git/annex/objects/P0/XX/SHA256E-s1--a.jpg/SHA256E-s1--a.jpg", tmp_path / "annex.jpg")
    os.symlink("nowhere.jpg", tmp_path / "dangling.jpg")
    found = [pointer_at(tmp_path / name) for name in ("lfs.jpg", "annex.jpg", "photo.jpg", "dangling.jpg", "none.jpg")]
    assert found == [LFS, ANNEX, None, None, None]
