"""``shards:PATTERN``: tar files of entries that share a basename; the only module that imports webdataset.

The format is WebDataset's (Aizman, Maltby and Breuel, 2019, arXiv:2001.01858): ``a/b.jpg`` and ``a/b.json`` are one
entry with key ``a/b``, and a shard is read sequentially. The library groups members, expands braces and writes shards;
this module opens and checks them, because the library would

* run commands for names such as ``pipe:...``: here a shard is a file on this machine or on shared storage;
* decode members by their suffix, including ``.pickle``: here contents stay bytes;
* stop silently at a damaged header, and read members of any size: here both are errors.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from deft.artifacts import whole_file
from deft.contracts import InputError
from deft.data.layouts.entries import Entry
from deft.guards.opening import open_regular
from deft.guards.words import shown

PREFIX = "shards:"
MAX_SHARDS = 1_000_000
MAX_BYTES = 500_000_000
"""Largest member that is read, twice the bytes of the largest decoded image; a header can claim any size."""

_BLOCK = 512
_AFTER = 65_536
"""Bytes that are checked after the end mark; tar pads to 10,240."""


def shard_paths(spec: str) -> list[Path]:
    """The files that ``shards:PATTERN`` names, in the order of the pattern.

    Args:
        spec: the pattern may contain braces, ``{000..099}`` or ``{a,b}``, and a glob's ``*``, ``?`` and ``[]``.

    Raises:
        InputError: webdataset is not installed, a file is missing, none is found, the name is a URL, or two files have
            the same name.
    """
    pattern = spec.removeprefix(PREFIX)
    if re.match(r"[A-Za-z][\w+.-]+:", pattern) or pattern in ("", "-"):
        raise InputError(
            f"{spec}: expected a path on this machine or on shared storage, as in {PREFIX}photos-{{000..099}}.tar; "
            "URLs and commands are not supported: copy or mount the files"
        )
    paths: list[Path] = []
    for name in _expanded(pattern, spec):
        place = os.path.expanduser(name)
        if os.path.isfile(place):
            paths.append(Path(place))
            continue
        found = [Path(match) for match in sorted(glob(place)) if os.path.isfile(match)] if has_magic(place) else []
        if not found:
            raise InputError(f"{spec}: expected a shard at {name}, found none; correct the pattern or add the file")
        paths += found
    seen: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        if path.name in seen:
            raise InputError(
                f"{spec}: expected shards with different names, because results are named after them, got "
                f"{seen[path.name]} and {path}; name one folder at a time, each with its own --out"
            )
        seen[path.name] = path
    return list(seen.values())


def _expanded(pattern: str, spec: str) -> list[str]:
    library = _library()  # reported first if it is missing
    if os.path.isfile(os.path.expanduser(pattern)):
        return [pattern]
    ranges = re.findall(r"(\d+)\.\.(\d+)", pattern)
    long = any(abs(int(last) - int(first)) >= MAX_SHARDS for first, last in ranges)  # would be expanded at once
    try:
        names = [] if long else list(islice(library.braceexpand(pattern, escape=False), MAX_SHARDS + 1))
    except ValueError as error:
        raise InputError(f"{spec}: expected braces as in {{000..099}} or {{a,b}}, got {error}") from None
    if long or len(names) > MAX_SHARDS:
        raise InputError(f"{spec}: expected at most {MAX_SHARDS:,} shards in one command; name some of them at a time")
    return names


def read_shard(path: Path, wanted: Callable[[str], bool]) -> Iterator[Entry]:
    """Iterate over the entries of a shard; only the current one is in memory.

    Members whose names WebDataset does not count as data (``.hidden``, ``__meta__``, no suffix) are skipped.

    Args:
        path: an uncompressed tar file.
        wanted: whether contents with this suffix are read; others are skipped, but their key is kept.

    Raises:
        InputError: not a tar file, or one that is damaged, truncated or has a key twice.
    """
    seen: set[str] = set()
    entries = _library().group_by_keys(_members(path, wanted))
    while True:
        try:
            found = next(entries, None)
        except InputError:
            raise
        except ValueError as error:  # raised by the library for a name that occurs twice
            what = str(error.args[0]).partition(":")[0]
            raise InputError(
                f"{path}: expected each file name once, got {shown(what)} twice; recreate the shard"
            ) from None
        if found is None:
            return
        key = found["__key__"]
        if key in seen:
            raise InputError(
                f"{path}: expected the files of a key next to each other, got {shown(key)!r} in two places; "
                "recreate the shard with unique keys"
            )
        seen.add(key)
        files = {name: content for name, content in found.items() if name[:2] != "__" and content is not None}
        yield Entry(key, files)


def _members(path: Path, wanted: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Name and contents of each file in the tar, as the library groups them; None for contents that are not wanted."""
    archive = _opened(path)
    with archive:
        while (member := _next(archive, path)) is not None:
            archive.members = []  # type: ignore[attr-defined]  # would keep every header
            name = member.name
            last = name.rpartition("/")[2]
            if member.isdir() or last.startswith(".") or re.match(r"__[^/]*__($|/)", name):
                continue
            suffix = last.partition(".")[2].lower()
            content = _content(archive, member, path) if suffix and wanted(suffix) else None
            yield {"fname": name, "data": content, "__url__": str(path)}
        _check_end(path, archive.offset)


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=open_regular(path), mode="r:")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{path}: expected an uncompressed tar file, got {error}; recreate the shard") from None


def _next(archive: tarfile.TarFile, path: Path) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: damaged or truncated ({error}); copy it again from its source") from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes | InputError:
    if not member.isreg() or member.issparse():
        return InputError("expected a regular file in the tar, got a link, a device or a sparse file")
    if member.size > MAX_BYTES:
        return InputError(f"expected at most {MAX_BYTES / 1e6:,.0f} MB, got {member.size / 1e6:,.0f}")
    try:
        file = archive.extractfile(member)
        if file is None:
            raise AssertionError("a regular member has contents")
        return file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{path}: damaged or truncated ({error}); copy it again from its source") from None


def _check_end(path: Path, offset: int) -> None:
    """Refuse a tar without a proper end: tarfile stops silently at anything that is not a header."""
    with open_regular(path) as file:
        file.seek(offset)
        mark, after = file.read(_BLOCK), file.read(_AFTER)
    if len(mark) < _BLOCK:
        raise InputError(f"{path}: truncated, its end mark is missing; copy it again from its source")
    if any(mark):
        raise InputError(f"{path}: damaged at byte {offset:,}; copy it again from its source")
    if any(after):
        raise InputError(f"{path}: has data after its end mark, like tar files joined by cat; split it into shards")


@contextmanager
def writing(path: Path) -> Iterator[Callable[[str, Mapping[str, bytes]], None]]:
    """Write a shard whole or not at all; equal contents give equal bytes.

    Yields a function that takes a key and its contents by suffix. Entries are written to a temporary file next to
    ``path``, which is renamed when the block succeeds; temporary files of killed processes are removed.
    """
    tar_writer = _library().tar_writer
    path.parent.mkdir(parents=True, exist_ok=True)
    beginning = f".part-{path.name}-"
    for left in path.parent.iterdir():
        if left.name.startswith(beginning):
            left.unlink(missing_ok=True)
    with (
        whole_file(path, beginning) as file,
        tar_writer(file, user="", group="", mode=0o644, mtime=0, compress=False, encoder=False) as archive,
    ):
        yield lambda key, files: archive.write({"__key__": key, **files})


class _Library(NamedTuple):
    """The functions used from webdataset."""

    braceexpand: Callable[..., Iterator[str]]
    group_by_keys: Callable[[Iterator[dict[str, Any]]], Iterator[dict[str, Any]]]
    tar_writer: Any


def _library() -> _Library:
    try:
        from braceexpand import braceexpand
        from webdataset.tariterators import group_by_keys
        from webdataset.writer import TarWriter
    except ImportError:
        raise InputError(
            "shards need a package that is not installed: pip install 'deft-wsss[shards]', then run again"
        ) from None
    return _Library(braceexpand, group_by_keys, TarWriter)
