"""What a study found, as plain values, and how it is written: ``NAME.md``, ``NAME.json`` and ``NAME-*.png``.

A study that is stopped half-way has written what it has; every table says how many runs it rests on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft.artifacts import atomic_write, write_json
from deft.studies.words import literal

NOTHING = "–"
"""A cell that cannot be known."""


@dataclass(frozen=True)
class Table:
    """One table of the page; cells are Markdown, so users' words go through :func:`~deft.studies.words.literal`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """One cell per column."""
    explain: str = ""
    """What the numbers are, above the table."""


@dataclass(frozen=True)
class Plot:
    """One picture of the page."""

    name: str
    """Its file is ``<study>-<name>.png``."""
    png: bytes
    alt: str
    """What it shows, in a sentence, for those who do not see it."""


@dataclass(frozen=True)
class Outcome:
    """All that one study found."""

    name: str
    """Of the files: ``localisation``."""
    title: str
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader should know, one paragraph each, above the tables."""
    values: Any = None
    """Every number, unrounded, for ``NAME.json``; fractions in [0, 1], None where unknown."""
    failures: tuple[str, ...] = ()
    """Runs that could not be made, each with its reason."""
    open: int = 0
    """Runs that are still to be made: the page is written after each."""


def write(outcome: Outcome, folder: Path, facts: Mapping[str, str]) -> Path:
    """Write the page, the numbers and the pictures; each file whole or not at all.

    Args:
        outcome: what was found.
        folder: where the files go.
        facts: what a reader needs to repeat it: command, commit, versions, machine.

    Returns:
        The page, ``folder/NAME.md``.
    """
    for plot in outcome.plots:
        atomic_write(folder / f"{outcome.name}-{plot.name}.png", plot.png)
    content = {"study": outcome.name, "facts": dict(facts), "open": outcome.open, "failures": list(outcome.failures)}
    write_json(folder / f"{outcome.name}.json", finite({**content, "found": outcome.values}))
    page = folder / f"{outcome.name}.md"
    atomic_write(page, "\n".join(_lines(outcome, facts)).encode())
    return page


def finite(value: Any) -> Any:
    """The same value with None for what JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def cell(values: Sequence[float | None], scale: float = 100.0, digits: int = 1, sign: bool = False) -> str:
    """Mean ± standard deviation (n - 1) of what is known, per cent unless told otherwise.

    Args:
        values: one number a seed; None and nan are unknown.
        scale: every value is multiplied by it.
        digits: after the point.
        sign: show the sign of a mean above 0.
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
        lines += [f"**Not finished: {outcome.open} runs are still to be made.** The same command goes on.", ""]
    for failure in outcome.failures:
        lines += ["**Failed:** " + literal(failure, 2000), ""]
    lines += [f"- {name}: {text}" for name, text in facts.items()] + [""]
    for note in outcome.notes:
        lines += [note, ""]
    for table in outcome.tables:
        lines += markdown(table)
    for plot in outcome.plots:
        lines += [f"![{literal(plot.alt, 500)}]({outcome.name}-{plot.name}.png)", ""]
    return lines


def _safe(text: str) -> str:
    """Text that can stand in one cell."""
    return " ".join(text.split()).replace("|", "\\|")
