"""Faults of a dataset, one value each, so that all of them can be listed and not only the first."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deft.contracts import InputError
from deft.guards.words import shown


@dataclass(frozen=True)
class Fault:
    """One fault in the user's data, and its remedy."""

    file: str
    """The file or folder with the fault, as the user would type it."""
    line: int | None
    """1-based line in ``file``; None if the fault is not in a particular line."""
    what: str
    """What was expected and what was got."""
    remedy: str
    """What to do."""
    warning: bool = False
    """True if a run can start in spite of it."""

    def __str__(self) -> str:
        """One line: ``file:line: what; remedy``."""
        place = shown(self.file) if self.line is None else f"{shown(self.file)}:{self.line}"
        return f"{place}: {'warning: ' if self.warning else ''}{shown(self.what)}; {shown(self.remedy)}"


class Faults:
    """Collects faults while a dataset is read."""

    def __init__(self) -> None:
        """Start with no faults."""
        self.all: list[Fault] = []

    def add(self, file: str | os.PathLike[str], line: int | None, what: str, remedy: str) -> None:
        """Add an error: no run can start."""
        self.all.append(Fault(os.fspath(file), line, what, remedy))

    def warn(self, file: str | os.PathLike[str], line: int | None, what: str, remedy: str) -> None:
        """Add a warning: a run can start."""
        self.all.append(Fault(os.fspath(file), line, what, remedy, warning=True))

    @property
    def errors(self) -> list[Fault]:
        """The faults that are not warnings."""
        return [fault for fault in self.all if not fault.warning]


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 row``, ``2 rows``; ``many`` is for plurals without s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def refuse(faults: Iterable[Fault], spec: str, most: int = 5) -> None:
    """Raise an :class:`InputError` that lists the first errors; warnings are ignored.

    Args:
        faults: the faults that were found.
        spec: the ``KIND:PATH`` that was opened, for the command that lists the rest.
        most: number of errors to list.
    """
    errors = [str(fault) for fault in faults if not fault.warning]
    if not errors:
        return
    more = [f"... and {len(errors) - most} more: `deft check {spec}` lists them all"] if len(errors) > most else []
    raise InputError("\n".join(errors[:most] + more))


def nearest(word: str, known: Sequence[str]) -> str:
    """``" (nearest: 'cow')"`` for a misspelt word, or an empty string."""
    folded = {name.casefold(): name for name in known}
    match = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.6)
    return f" (nearest: {folded[match[0]]!r})" if match else ""
