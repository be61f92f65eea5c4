"""Helping a run that another process holds: ``deft join RUN`` on any machine that sees the run folder.

A helper makes seeds, refined maps, pseudo-masks and predictions, a bucket of images at a time, beside the process that
holds the run and beside other helpers (:mod:`deft.engine.worklist`). It never trains: while the run does, it waits. It
comes and goes as it likes; what it made is kept, and what it had begun is free for others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from deft.artifacts import RunFolder, Stage, read_json, stage_records
from deft.contracts import InputError
from deft.engine.worklist import RECORD, WorkList
from deft.guards.opening import UnreadableError, exists
from deft.runner.run import read_record
from deft.stages.context import Run
from deft.stages.make import SHARED, shares_of
from deft.thresholds import read_tuned


class Share(Protocol):
    """The attributes of :class:`deft.stages.shares.Share` that a helper needs."""

    def todo(self, begin: bool = True) -> WorkList:
        """Work list of the images whose file is missing."""

    def take_part(self, begin: bool = True) -> int:
        """Make files that no other process has claimed; returns, when all are made, how many this process made."""


LISTS = tuple(f"claims-{part}/{RECORD}" for part in ("train", "val", "all"))
"""Places of a stage's work lists (:mod:`deft.stages.shares`): a folder of a million files is slow to search."""

Shares = Callable[[Stage], Sequence[Share]]
"""Prepares a stage in progress: loads its networks and returns its shares."""


def join(
    run: Path, data: str | None = None, poll: float = 2.0, opened: Callable[[Path, str | None], Shares] | None = None
) -> int:
    """Take part in a run's stages until it is finished; one line is printed for each stage.

    Args:
        run: its folder, on storage that both machines see.
        data: ``KIND:PATH`` of the run's data on this machine; None where it lies at the same place.
        poll: seconds between two looks at the run folder.
        opened: opens one run folder; None takes :func:`open_run`.

    Returns:
        How many files this process made.

    Raises:
        InputError: there is no run, or the data is not the run's.
    """
    if not (run / "run.json").exists():
        raise InputError(f"{run}: expected the folder of a run that has begun, found no run.json in it; begin it first")
    runs: dict[Path, Shares] = {}
    helped: set[tuple[Path, str]] = set()
    made = 0
    while not finished(run):
        stage = next((stage for stage in under_way(run) if (stage.folder, stage.key) not in helped), None)
        if stage is None:
            time.sleep(poll)
            continue
        folder = stage.folder.parents[stage.name.count("/")]
        if folder not in runs:
            runs[folder] = (opened or open_run)(folder, data)
        count = _help(stage, runs[folder](stage), poll)
        print(f"{stage.folder.relative_to(run)}: {count} files made here", flush=True)
        helped.add((stage.folder, stage.key))
        made += count
    return made


def open_run(folder: Path, data: str | None = None) -> Shares:
    """Open a run folder that another process holds, with the settings in its record; nothing is locked or written.

    Args:
        folder: of the run, or of one of its rounds.
        data: as for :func:`join`.

    Raises:
        InputError: the data is not the run's, or the settings come from a file of yours.
    """
    pipeline, splits, record = read_record(folder, data)
    # Every network is one that the run has trained, so that nothing has to be begun from weights this machine may lack.
    work = Run(replace(pipeline, weights="none"), splits, RunFolder(folder, record, own=False))
    return lambda stage: shares_of(work, stage)


def under_way(run: Path) -> list[Stage]:
    """The stages of a run, and of its rounds, whose work lists are open."""
    found = []
    for folder in (run, *sorted(run.glob("round-*"))):
        for name in SHARED:
            record = _record(folder / name / "stage.json")
            if record.get("state") == "begun" and any((folder / name / place).exists() for place in LISTS):
                found.append(Stage(name, folder / name, str(record["key"])))
    return found


def finished(run: Path) -> bool:
    """Whether the run is scored, and the scores are those of its current stages."""
    records = [_record(path) for path in stage_records(run)]
    done = {record.get("key") for record in records if record.get("state") == "done"}
    scores, tuned = _record(run / "scores.json"), read_tuned(run)
    images = set(tuned.images) if tuned is not None else set()  # scores name those that thresholds were tuned on, too
    return bool(scores) and set(scores["made_of"]) - images <= done


def _help(stage: Stage, shares: Sequence[Share], poll: float) -> int:
    """Take part in a stage's shares one after the other, as the process that holds the run begins them."""
    made = 0
    for share in shares:
        while not share.todo(begin=False).is_open() and stage.record.get("state") == "begun":
            time.sleep(poll)
        made += share.take_part(begin=False)
    return made


def _record(path: Path) -> dict[str, Any]:
    """A JSON record of the run; empty if it does not exist (any more)."""
    try:
        found = read_json(path)
    except UnreadableError:
        if exists(path):
            raise
        return {}
    return found if isinstance(found, dict) else {}
