"""Digests that show whether data has changed: names, labels and groups of images, and sizes and times of files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deft.contracts import Dataset

if TYPE_CHECKING:
    from hashlib import _Hash


def digest_of_tags(data: Dataset) -> _Hash:
    """SHA-256 of names, labels, classes, contexts and groups, to be updated with anything else that matters."""
    digest = hashlib.sha256()
    for part in (data.classes, data.contexts, data.names):
        digest.update(repr(part).encode("utf-8", "backslashreplace"))
    arrays = [data.labels, data.scored, *([] if data.context_labels is None else [data.context_labels])]
    for array in arrays + [data.groups[name] for name in sorted(data.groups)]:
        digest.update(repr(array.shape).encode() + np.packbits(array).tobytes())
    digest.update(repr(sorted(data.groups)).encode("utf-8", "backslashreplace"))
    return digest


def stamp(path: Path | None) -> bytes:
    """Name, size and modification time of a file; its folder does not matter."""
    if path is None:
        return b"none;"
    try:
        status = os.stat(path)
    except OSError:
        return b"missing;"
    return f"{path.name.encode('utf-8', 'backslashreplace')!r},{status.st_size},{status.st_mtime_ns};".encode()
