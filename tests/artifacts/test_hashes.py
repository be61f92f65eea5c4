from __future__ import annotations

import hashlib
import os
from pathlib import Path

from deft.artifacts.hashes import damages, digest, hashes


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"content")
    expected = hashlib.sha256(b"content").hexdigest()
    assert hashes(tmp_path, ["sub/a"]) == {"sub/a": expected}
    assert digest(tmp_path / "sub" / "a") == expected


def test_every_damage_is_found(tmp_path: Path) -> None:
    names = ["same", "longer", "other", "gone", "link", "pipe", "folder"]
    for name in names:
        (tmp_path / name).write_text("content")
    made = hashes(tmp_path, names)
    assert not list(damages(tmp_path, made))
    (tmp_path / "longer").write_text("content.")
    (tmp_path / "other").write_text("c0ntent")
    for name in ("gone", "link", "pipe", "folder"):
        (tmp_path / name).unlink()
    (tmp_path / "link").symlink_to("same")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    found = {each.path.name: each.what for each in damages(tmp_path, made)}
    changed = "damaged or replaced: its content is not what was made"
    assert found == {
        "longer": changed,
        "other": changed,
        "gone": "missing",
        "link": "replaced by a link",
        "pipe": "cannot be opened (expected a file, got a named pipe)",
        "folder": "cannot be opened (expected a file, got a folder)",
    }
    assert str(next(damages(tmp_path, {"a\nb": ""}))) == f"{tmp_path}/a\\nb: missing"
