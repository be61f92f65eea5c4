"""Digests of the bytes of files, remembered beside the size and the times of each file.

Reading 1.5 GB of photographs takes seconds, and every command needs to know whether they are still the same. A *record*
keeps the digest of each file with its size, its times of modification and of change in nanoseconds, and its number on
the disk (inode). If all of them are equal, the file is not read again. Where the system keeps a time of change, which
nobody can set, this also finds a file whose time of modification was put back; on Windows, which has none, it does not.

A file that was modified within two seconds of being read may be modified once more without its times changing, because
disks count time in steps. Such digests are used, but not remembered, as git does with files as young as its index.

The record is only a cache. A missing or damaged one costs time, and the files are read again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deft.artifacts.files import atomic_write, read_json
from deft.contracts import InputError
from deft.guards.opening import UnreadableError, open_regular

DIGITS = 40
"""Hex digits of a digest, the first of SHA-256."""
YOUNG = 2_000_000_000
"""Nanoseconds within which two modifications may bear the same time: FAT counts in steps of two seconds."""
_THREADS = 16
_CHUNK = 32
"""Files per task of a thread."""
_PATIENCE = 2.0
"""Seconds until a progress bar appears."""

Stamp = tuple[int, int, int, int]
"""Size in bytes, times of modification and of change in ns, inode."""


class Contents:
    """The digests of files that are known, and those that were asked for."""

    def __init__(self, record: Path | None = None) -> None:
        """Read a record.

        Args:
            record: its file; None, and one that is missing or damaged, knows nothing.
        """
        self._record = record
        self._known = {} if record is None else _read(record)
        self._new = False

    def __call__(self, paths: Sequence[Path], strict: bool = True) -> list[str]:
        """Hex digest of each file; see :class:`deft.contracts.DigestFiles`.

        Files are read by several threads. A progress bar is shown after two seconds.

        Raises:
            UnreadableError: a file cannot be read, and ``strict`` is set.
        """
        chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
        found: list[str] = []
        with (
            ThreadPoolExecutor(_THREADS) as pool,
            tqdm(total=len(paths), desc="reading files", unit="file", delay=_PATIENCE, leave=False) as bar,
        ):
            try:
                for part in pool.map(lambda chunk: [self._digest(path, strict) for path in chunk], chunks):
                    found += part
                    bar.update(len(part))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return found

    def store(self) -> None:
        """Write the record, whole or not at all, if anything in it is new."""
        if self._record is None or not self._new:
            return
        folders: dict[str, dict[str, tuple[str, Stamp]]] = {}
        for path, entry in sorted(self._known.items()):
            folder, name = os.path.split(path)
            folders.setdefault(folder, {})[name] = entry
        atomic_write(self._record, (json.dumps({"files": folders}, separators=(",", ":")) + "\n").encode())
        self._new = False

    def _digest(self, path: Path, strict: bool) -> str:
        place = os.path.abspath(path)
        known = self._known.get(place)
        try:
            if known is not None and known[1] == stamp(os.stat(path)):
                return known[0]
        except OSError:
            pass  # opening it says why
        try:
            digest, settled = read(path)
        except UnreadableError:
            if strict:
                raise
            return ""
        if settled is not None:
            self._known[place] = (digest, settled)
            self._new = True
        return digest


def stamp(status: os.stat_result) -> Stamp:
    """What is compared of a file before its digest is believed."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read(path: Path) -> tuple[str, Stamp | None]:
    """Digest of a file, and its stamp; None if the file is so young that a later change may leave the stamp as it is.

    Raises:
        UnreadableError: it cannot be read.
    """
    begun = time.time_ns()
    with open_regular(path) as file:
        before = stamp(os.fstat(file.fileno()))
        digest = _sha256(file, path)
        after = stamp(os.fstat(file.fileno()))
    settled = before == after and max(before[1], before[2]) + YOUNG <= begun
    return digest, before if settled else None


def whole(paths: Sequence[Path], strict: bool = True) -> list[str]:
    """Digests of files without a record: every one is read."""
    return Contents()(paths, strict)


def joined(parts: Sequence[str]) -> str:
    """One digest of many, in their order."""
    return hashlib.sha256(repr(list(parts)).encode("utf-8", "backslashreplace")).hexdigest()[:DIGITS]


def _sha256(file: io.BufferedReader, path: Path) -> str:
    try:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    except OSError as error:
        raise UnreadableError(path, f"cannot be read ({error.strerror})", "check the disk") from None


def _read(record: Path) -> dict[str, tuple[str, Stamp]]:
    """The entries of a record that are whole."""
    try:
        content = read_json(record)
    except InputError:
        return {}
    folders = content.get("files") if isinstance(content, dict) else None
    found: dict[str, tuple[str, Stamp]] = {}
    for folder, files in folders.items() if isinstance(folders, dict) else ():
        for name, value in files.items() if isinstance(files, dict) else ():
            entry = _entry(value)
            if entry is not None:
                found[os.path.join(folder, name)] = entry
    return found


def _entry(value: Any) -> tuple[str, Stamp] | None:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str) or len(value[0]) != DIGITS:
        return None
    numbers = value[1]
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(type(number) is int for number in numbers):
        return None
    size, modified, changed, inode = numbers
    return value[0], (size, modified, changed, inode)
