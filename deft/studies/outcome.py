"""The results of a study as plain values, and how they are written: ``NAME.md``, ``NAME.json`` and ``NAME-*.png``.

The files of an interrupted study hold the results so far; every table gives the number of runs behind its figures.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft.artifacts import atomic_write, read_json, write_json
from deft.contracts import InputError
from deft.guards.opening import exists
from deft.guards.output import check_out
from deft.guards.words import shown
from deft.studies.markdown import escape_markdown

NOTHING = "–"
"""Text of a cell without a value."""


@dataclass(frozen=True)
class Table:
    """One table of the page; cells are Markdown, so user text needs :func:`~deft.studies.markdown.escape_markdown`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """One cell per column."""
    explain: str = ""
    """Explanation of the numbers, shown above the table."""


@dataclass(frozen=True)
class Plot:
    """One image of the page."""

    name: str
    """The file is ``<study>-<name>.png``."""
    png: bytes
    alt: str
    """Alternative text: a sentence that says what the image shows."""


@dataclass(frozen=True)
class Outcome:
    """The results of one study."""

    name: str
    """Name of the study and its files, such as ``localisation``."""
    title: str
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()
    """Paragraphs shown above the tables."""
    values: Any = None
    """All numbers, unrounded, for ``NAME.json``; fractions in [0, 1], None if unknown."""
    failures: tuple[str, ...] = ()
    """Runs that could not be made, with the reasons."""
    open: int = 0
    """Number of runs that are still to be made: the page is written after each."""


def write(outcome: Outcome, folder: Path, facts: Mapping[str, str]) -> Path:
    """Write the page, the numbers and the images, each file atomically.

    Args:
        outcome: the results.
        folder: output folder.
        facts: what is needed to reproduce them: command, commit, versions, machine.

    Returns:
        Path of the page, ``folder/NAME.md``.
    """
    for plot in outcome.plots:
        atomic_write(folder / f"{outcome.name}-{plot.name}.png", plot.png)
    content = {"study": outcome.name, "facts": dict(facts), "open": outcome.open, "failures": list(outcome.failures)}
    write_json(folder / f"{outcome.name}.json", finite({**content, "found": outcome.values}))
    page = folder / f"{outcome.name}.md"
    atomic_write(page, "\n".join(_lines(outcome, facts)).encode())
    return page


def refuse_foreign(folder: Path, study: str) -> None:
    """Refuse a folder in which a study would write over a page that is no study's; asked before anything is made.

    Raises:
        InputError: files named after the study are there, and its numbers are not.
    """
    check_out(folder)
    numbers = folder / f"{study}.json"
    if exists(numbers):
        found = read_json(numbers)
        known = isinstance(found, dict) and found.get("study") == study
    else:
        known = not any(exists(folder / f"{study}.{kind}") for kind in ("md", "html"))
    if not known:
        raise InputError(
            f"--out {shown(folder)}: expected a new folder or the study's own, got a {study}.json, .md or .html that "
            "deft did not write; name another folder"
        )


def finite(value: Any) -> Any:
    """The same value with None in place of nan and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def cell(values: Sequence[float | None], scale: float = 100.0, digits: int = 1, sign: bool = False) -> str:
    """Mean ± standard deviation (n - 1) of the known values, by default in per cent.

    Args:
        values: one number per seed; None and nan are unknown.
        scale: factor applied to every value.
        digits: number of decimals.
        sign: whether a positive mean gets a plus sign.
    """
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return NOTHING
    mean = f"{scale * statistics.fmean(known):{'+' if sign else ''}.{digits}f}"
    return mean if len(known) == 1 else f"{mean} ± {scale * statistics.stdev(known):.{digits}f}"


def markdown(table: Table) -> list[str]:
    """The table as lines of Markdown."""
    lines = [f"## {table.title}", ""]
    if table.explain:
        lines += [table.explain, ""]
    rows = ["| " + " | ".join(_safe(text) for text in row) + " |" for row in (table.columns, *table.rows)]
    return [*lines, rows[0], "|" + "---|" * len(table.columns), *rows[1:], ""]


def _lines(outcome: Outcome, facts: Mapping[str, str]) -> list[str]:
    lines = [f"# {outcome.title}", ""]
    if outcome.open:
        lines += [f"**Not finished: {outcome.open} runs are still to be made.** Run the same command to resume.", ""]
    for failure in outcome.failures:
        lines += ["**Failed:** " + escape_markdown(failure, 2000), ""]
    lines += [f"- {name}: {text}" for name, text in facts.items()] + [""]
    for note in outcome.notes:
        lines += [note, ""]
    for table in outcome.tables:
        lines += markdown(table)
    for plot in outcome.plots:
        lines += [f"![{escape_markdown(plot.alt, 500)}]({outcome.name}-{plot.name}.png)", ""]
    return lines


def _safe(text: str) -> str:
    """Text on one line without column separators."""
    return " ".join(text.split()).replace("|", "\\|")
