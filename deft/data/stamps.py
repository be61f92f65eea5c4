"""Digests that tell when data has changed: what is known of every image, and the size and time of files."""

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
    """A SHA-256 of names, labels, classes, contexts and groups, to be updated with whatever else there is."""
    digest = hashlib.sha256()
    for part in (data.classes, data.contexts, data.names):
        digest.update(repr(part).encode("utf-8", "backslashreplace"))
    arrays = [data.labels, data.scored, *([] if data.context_labels is None else [data.context_labels])]
    for array in arrays + [data.groups[name] for name in sorted(data.groups)]:
        digest.update(repr(array.shape).encode() + np.packbits(array).tobytes())
    digest.update(repr(sorted(data.groups)).encode("utf-8", "backslashreplace"))
    return digest


def stamp(path: Path | None) -> bytes:
    """Name, size and time of a file; where it lies does not count."""
    if path is None:
        return b"none;"
    try:
        status = os.stat(path)
    except OSError:
        return b"missing;"
    return f"{path.name.encode('utf-8', 'backslashreplace')!r},{status.st_size},{status.st_mtime_ns};".encode()
