"""Hashes of what was made: a damaged, replaced or missing file is found again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deft.guards.opening import UnreadableError, open_regular
from deft.guards.words import shown


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was made."""

    path: Path
    what: str

    def __str__(self) -> str:
        """One line."""
        return f"{shown(self.path)}: {self.what}"


def hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of files, in hex, by their path relative to the folder."""
    return {name: digest(folder / name) for name in names}


def damages(folder: Path, made: Mapping[str, str]) -> Iterator[Damage]:
    """The files of a folder that are missing, or have another content than was made.

    Args:
        folder: the folder.
        made: as from :func:`hashes`.
    """
    for name, expected in made.items():
        path = folder / name
        if not is_inside(name):
            yield Damage(folder, f"its record names {shown(name)!r}, which is no file in it")
        elif not os.path.lexists(path):
            yield Damage(path, "missing")
        elif path.is_symlink():
            yield Damage(path, "replaced by a link")
        else:
            try:
                changed = digest(path) != expected
            except UnreadableError as error:
                yield Damage(path, error.what)
            else:
                if changed:
                    yield Damage(path, "damaged or replaced: its content is not what was made")


def is_inside(name: str) -> bool:
    """Whether a name in a record, which somebody may have edited, is one of a file in its folder."""
    parts = name.split("/")
    return not {"", ".", ".."} & set(parts) and not any(letter in name for letter in "\0\\:")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        UnreadableError: it cannot be read.
    """
    with open_regular(path) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UnreadableError(path, f"cannot be read ({error.strerror})", "check the disk") from None
