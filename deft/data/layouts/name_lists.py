"""Text files that users write by hand: lists of names, one per line, and lists of classes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from deft.contracts import MAX_CLASSES
from deft.data.decoding import Undecodable, decode
from deft.data.faults import Faults
from deft.data.invisible import visible
from deft.data.pointers import pointer_at
from deft.guards.opening import RECORD, UnreadableError, read_regular

_NAMES = 64_000_000
"""Largest list of names in bytes: some millions of images."""
CLASSES = 1_000_000
"""Largest list of classes in bytes; a mask can hold 254 of them."""
_REPEATS = 1000
"""Repeated names of a list that are told one by one."""


def read_text(path: Path, faults: Faults, encoding: str | None = None, most: int = RECORD) -> str | None:
    """Read a text file; None and a fault if it is not text, a remark if its encoding is unusual.

    Args:
        path: the file.
        faults: collects the fault or the remark.
        encoding: of the file, as Python names it; empty, or None where none can be named, detects it as
            :func:`deft.data.decoding.decode` does.
        most: number of bytes above which it is refused.
    """
    try:
        decoded = decode(read_regular(path, most), encoding)
    except UnreadableError as error:
        pointer = pointer_at(path)
        what, remedy = (f"is a {pointer.system} pointer", pointer.remedy) if pointer else (error.what, error.remedy)
        faults.add(path, None, what, remedy)
        return None
    except Undecodable as error:
        faults.add(path, error.line, error.what, error.remedy)
        return None
    if decoded.encoding:
        faults.warn(
            path, None, f"read as {decoded.encoding}, which is not UTF-8", "save it as UTF-8 if names look wrong"
        )
    return decoded.text


def read_names(path: Path, faults: Faults, encoding: str | None = None, most: int = _NAMES) -> list[tuple[int, str]]:
    """Non-blank lines, each with its 1-based number; a repeated name is a fault and is dropped."""
    text = read_text(path, faults, encoding, most)
    if text is None:
        return []
    first: dict[str, int] = {}
    repeated = 0
    for line, raw in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        name = raw.strip()
        if name in first:
            repeated += 1
            if repeated <= _REPEATS:
                faults.add(path, line, f"{name!r} is already in line {first[name]}", "remove one of the two")
        elif name:
            first[name] = line
    if repeated > _REPEATS:
        faults.add(path, None, f"{repeated - _REPEATS} more lines repeat a name", "name the right file, or remove them")
    if not first:
        faults.add(path, None, "expected one name per line, got an empty list", "fill it or remove the file")
    return [(line, name) for name, line in first.items()]


def read_classes(path: Path, faults: Faults, encoding: str | None = None) -> tuple[str, ...]:
    """Class names, one per line; class k is mask value k + 1. ``background`` is not a class."""
    lines = read_names(path, faults, encoding, CLASSES)
    names = tuple(class_name(name) for _, name in lines)
    check_classes(names, [line for line, _ in lines], path, faults)
    return names


def class_name(text: str) -> str:
    """Normal form of a class name: composed accents, no invisible characters, no surrounding spaces."""
    return visible(text)


def check_classes(
    names: tuple[str, ...], lines: list[int] | None, path: str | os.PathLike[str], faults: Faults
) -> None:
    """Add faults for names that differ only in case, ``background``, and more classes than a mask can hold."""
    folded: dict[str, str] = {}
    for index, name in enumerate(names):
        line = lines[index] if lines else None
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            faults.add(path, line, f"classes {other!r} and {name!r} differ only in case", "use one of the two")
        if name.casefold() in ("background", "__background__"):
            faults.add(
                path, line, f"{name!r} is not a class: background is always mask value 0", "remove it from the classes"
            )
    if len(names) > MAX_CLASSES:
        faults.add(
            path,
            lines[MAX_CLASSES] if lines else None,
            f"expected at most {MAX_CLASSES} classes, as many as a mask can hold, got {len(names)}",
            "merge or drop classes (are labels separated by ';' or spaces?)",
        )
