"""The page of a finished run, written again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deft.artifacts import atomic_write, or_newest_run
from deft.artifacts.record import run_record
from deft.contracts import InputError
from deft.evaluate.compare import compare
from deft.evaluate.page import collect
from deft.evaluate.stored import read_scores
from deft.report.html import render
from deft.runner.recorded import reopen


def rewrite_report(folder: Path, beside: Sequence[Path] = (), data: str | None = None) -> Path:
    """Write a run's page again, its scores beside those of other runs.

    Args:
        folder: of the run.
        beside: folders of runs to compare with.
        data: as for :func:`deft.runner.recorded.reopen`.

    Raises:
        InputError: one of the folders holds no finished run, or the data is gone or has changed.
    """
    scores = {}
    for other in [folder, *beside]:
        if not (other / "scores.json").is_file():
            remedy = or_newest_run(other, "finish it with the command it was begun with")
            raise InputError(f"{other}: expected a finished run, found none; {remedy}")
        record = run_record(other)
        scores[record["recipe"] or other.name] = read_scores(other)
    run = reopen(folder, data)
    try:
        page = replace(collect(run), comparisons=tuple(compare(scores)) if beside else ())
        path = folder / "report.html"
        atomic_write(path, render(page).encode())
        run.out.seal()
        return path
    finally:
        run.out.close()
