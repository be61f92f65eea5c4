"""Images that are the same file twice, by their contents."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np

from deft.contracts import Dataset, InputError
from deft.data.faults import counted
from deft.guards.opening import open_regular

_END = 4096
"""Bytes at either end of a file that are compared before all of it is read."""

Place = tuple[int, int]
"""Split and index of an image."""


def files_of(part: Dataset) -> Sequence[Path]:
    """The file of each image, or nothing if the dataset does not have one for each."""
    files = getattr(part, "images", ())
    return files if isinstance(files, tuple) and all(isinstance(file, Path) for file in files) else ()


def same_files(files: Sequence[Sequence[Path]]) -> list[list[Place]]:
    """Groups of equal files, each in order.

    Sizes are compared first, then the ends of files of one size, and only files that agree there are read as a whole:
    of photographs hardly any is. Files that are empty or cannot be read equal no other.

    Args:
        files: for each split the file of each image.
    """
    groups = [[(split, index) for split, part in enumerate(files) for index in range(len(part))]]
    for key in (_size, _ends, _digest):
        groups = [smaller for group in groups for smaller in _divided(group, files, key)]
    return groups


def _divided(
    group: Iterable[Place], files: Sequence[Sequence[Path]], key: Callable[[Path], Hashable]
) -> list[list[Place]]:
    """The parts of a group with equal keys that have more than one member."""
    found: dict[Hashable, list[Place]] = {}
    for split, index in group:
        try:
            value = key(files[split][index])
        except (OSError, InputError):
            continue
        if value is not None:
            found.setdefault(value, []).append((split, index))
    return [part for part in found.values() if len(part) > 1]


def _size(path: Path) -> int | None:
    return os.stat(path).st_size or None


def _ends(path: Path) -> bytes:
    with open_regular(path) as file:
        start = file.read(_END)
        file.seek(max(0, os.fstat(file.fileno()).st_size - _END))
        return start + file.read(_END)


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copies(train: Dataset, val: Dataset | None) -> list[tuple[str, str]]:
    """What there is to say about images that are the same file twice: pairs of what is found and what to do."""
    parts = [train] if val is None else [train, val]
    groups = same_files([files_of(part) for part in parts])
    found = []
    within = [
        places for group in groups for split in (0, 1) if len(places := [at for at in group if at[0] == split]) > 1
    ]
    if within:
        surplus = sum(len(places) - 1 for places in within)
        differing = sum(_differ(parts, places) for places in within)
        what = (
            f"{counted(surplus, 'image is', 'images are')} the same file as another, such as {_names(parts, within[0])}"
        )
        if differing:
            other = next(places for places in within if _differ(parts, places))
            what += f" (with different labels in {counted(differing, 'case')}, such as {_names(parts, other)})"
        found.append((what, "keep one of each, with all its labels"))
    across = [group for group in groups if len({split for split, _ in group}) > 1]
    if across:
        held = sum(split for group in across for split, _ in group)
        pair = [across[0][0], across[0][-1]]
        number = counted(held, "held-out image is", "held-out images are")
        what = f"{number} the same file as a training image, such as {_names(parts, pair)}"
        found.append((what, "remove them from one of the two, because scores on training images are meaningless"))
    return found


def _differ(parts: Sequence[Dataset], places: Sequence[Place]) -> bool:
    rows = [parts[split].labels[index] for split, index in places]
    return any(not np.array_equal(row, rows[0]) for row in rows[1:])


def _names(parts: Sequence[Dataset], places: Sequence[Place]) -> str:
    return " and ".join(repr(parts[split].names[index]) for split, index in places[:2])
