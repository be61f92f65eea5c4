"""Pointers that git-LFS and git-annex leave in place of files whose contents were not downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from deft.contracts import InputError
from deft.guards.opening import read_regular

_LONGEST = 1024
"""No pointer is longer, in bytes."""


class Pointer(NamedTuple):
    """A system that leaves pointers in place of files."""

    system: str
    remedy: str


LFS = Pointer("git-LFS", "get the files themselves with `git lfs pull`")
ANNEX = Pointer("git-annex", "get the files themselves with `git annex get .`")


def pointer_in(data: bytes) -> Pointer | None:
    """The system whose pointer these contents of a file are, or None."""
    if len(data) <= _LONGEST and data.startswith(b"version https://git-lfs.github.com/spec/"):
        return LFS
    if len(data) <= _LONGEST and data.startswith(b"/annex/objects/"):
        return ANNEX
    return None


def pointer_at(path: Path) -> Pointer | None:
    """The system whose pointer a file or a dangling link is, or None."""
    try:
        if path.is_symlink() and not path.exists():
            return ANNEX if "annex/objects/" in os.readlink(path).replace("\\", "/") else None
        if not path.is_file() or path.stat().st_size > _LONGEST:
            return None
        return pointer_in(read_regular(path))
    except (OSError, InputError):
        return None
