"""The places that a dataset is read from, which results must stay apart from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class HasPlaces(Protocol):
    """A dataset that knows the files and folders it is read from."""

    @property
    def places(self) -> Iterable[Path]:
        """Files and folders; they need not be complete."""


def places_of(files: Iterable[Path | None]) -> set[Path]:
    """The folders of files, and the files that are links to elsewhere."""
    found: set[Path] = set()
    for file in files:
        if file is not None:
            found.add(file.parent)
            if file.is_symlink():
                found.add(file)
    return found
