"""``deft quick``: masks while you wait, again and again.

A folder holds the answers to one question, ``OUT/1``, ``OUT/2`` and so on, each of them a run. As long as tags and
settings are what they were, the last one is continued, and what was reviewed in it meanwhile teaches its next round. If
they are not, the next answer is begun: it takes over every stage that an earlier one has made of the same, the features
of images first of all, and what was reviewed so far (:mod:`deft.stages.inherited`). What is decided in an earlier
answer after that is taken over by the last one when it is continued.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deft.artifacts.folder import discard
from deft.artifacts.record import run_record
from deft.contracts import InputError, Splits
from deft.engine import ranks
from deft.guards.opening import exists
from deft.pipeline import Pipeline
from deft.runner.recorded import data_of, recorded_pipeline, with_given_weights
from deft.runner.run import run
from deft.settings import OtherSettingsError


def quick(pipeline: Pipeline, data: str | Splits, out: Path, name: str = "") -> Path:
    """Continue the last answer, or begin the next one.

    Args:
        pipeline: what to run; with a frozen backbone, an answer takes seconds once its images have been looked at.
        data: ``KIND:PATH``, or splits.
        out: folder of the answers.
        name: of the recipe.

    Returns:
        The report of the answer.

    Raises:
        InputError: as for :func:`deft.runner.run.run`.
    """
    before = answers(out)
    last = before[-1] if before else out / "1"
    try:
        return _answer(pipeline, data, last, before[:-1], name)
    except OtherSettingsError:
        return _answer(pipeline, data, out / str(int(last.name) + 1), before, name, quiet=True)


def next_round(folder: Path, data: str | None = None, begins: Callable[[str], None] = lambda name: None) -> Path:
    """Continue an answer, or any run, from its own record, as repeating the command that made it would.

    Args:
        folder: of the run; what was reviewed in it teaches.
        data: as for :func:`deft.runner.recorded.reopen`.
        begins: as for :func:`deft.runner.run.run`.

    Returns:
        The report.

    Raises:
        InputError: as for :func:`deft.runner.recorded.reopen` and :func:`deft.runner.run.run`; an
            :class:`deft.settings.OtherSettingsError` if the data is not what the run was made of.
    """
    record = run_record(folder)
    pipeline = with_given_weights(recorded_pipeline(folder, record), record)
    beside = answers(folder.parent) if folder.name.isdecimal() else []
    before = [path for path in beside if int(path.name) < int(folder.name)]
    given = data_of(folder, record, data)
    return run(pipeline, given, folder, reuse=before[::-1], name=str(record["recipe"]), begins=begins)


def answers(out: Path) -> list[Path]:
    """The run folders of the answers so far, the last one last."""
    if not out.is_dir():
        return []
    found = [path for path in out.iterdir() if path.name.isdecimal() and exists(path / "run.json")]
    return sorted(found, key=lambda path: int(path.name))


def _answer(
    pipeline: Pipeline, data: str | Splits, folder: Path, before: list[Path], name: str, quiet: bool = False
) -> Path:
    """One answer; ``before`` are those whose stages and reviews it takes over."""
    begun = exists(folder / "run.json")
    try:
        return run(pipeline, data, folder, reuse=before[::-1], name=name, earlier=before, quiet=quiet)
    except InputError:
        if not begun and ranks.first():
            discard(folder)
        raise
