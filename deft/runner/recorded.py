"""A run that was made before: its pipeline, its data and the run itself, from what its folder records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deft.artifacts import RunFolder
from deft.artifacts.record import run_record
from deft.contracts import InputError, Splits
from deft.data import open_data
from deft.data.from_file import code_of, own_data
from deft.guards.output import check_out
from deft.pipeline import Pipeline
from deft.runner.run import reads, size_of
from deft.runner.verify import refuse_damaged
from deft.settings import restore
from deft.stages.context import Run


def reopen(folder: Path, data: str | None = None) -> Run:
    """Open a finished run.

    Args:
        folder: of the run.
        data: ``KIND:PATH`` of the run's data; None takes the one in its record, unless that is a Python file.

    Raises:
        InputError: the folder holds no run, or one whose settings come from a file of yours, or the data cannot
            be used.
    """
    pipeline, splits, record = read_record(folder, data)
    pipeline = with_given_weights(pipeline, record)
    check_out(folder, reads(pipeline, data or record["data"]["given"], splits), "run")
    refuse_damaged(folder)
    return Run(pipeline, splits, RunFolder(folder, record))


def read_record(folder: Path, data: str | None = None) -> tuple[Pipeline, Splits, dict[str, Any]]:
    """The pipeline and the data of a run folder, and its record as it is; nothing is locked or written.

    Args:
        folder: of the run.
        data: as for :func:`reopen`.

    Raises:
        InputError: as for :func:`reopen`.
    """
    record = run_record(folder)
    return recorded_pipeline(folder, record), open_data_of(folder, record, data), record


def recorded_pipeline(folder: Path, record: Mapping[str, Any]) -> Pipeline:
    """The pipeline in the record of a run, with the digest of its weights for their place.

    Raises:
        InputError: its settings come from a file of yours, or the record was written by another program.
    """
    # Runs of versions without a bound have read photographs as they are.
    settings = record["settings"]
    earlier = {"max_side": None} if "backbone" in settings else {}
    pipeline = restore({**earlier, **settings})
    if not isinstance(pipeline, Pipeline):
        raise InputError(f"{folder}: expected a pipeline in its run.json; it was written by another program")
    return pipeline


def with_given_weights(pipeline: Pipeline, record: Mapping[str, Any]) -> Pipeline:
    """A pipeline that was recorded, with its weights named as they were given: a place, not their digest."""
    given = record.get("given")
    weights = given.get("weights", pipeline.weights) if isinstance(given, dict) else pipeline.weights
    return replace(pipeline, weights=str(weights))


def open_data_of(folder: Path, record: Mapping[str, Any], data: str | None = None) -> Splits:
    """Open the data of a run; nothing is locked or written.

    Args:
        folder: of the run, or of one of its rounds.
        record: its record.
        data: as for :func:`reopen`.

    Raises:
        InputError: as for :func:`data_of`; also if the data has other classes or another number of images.
    """
    given = data_of(folder, record, data)
    splits = open_data(given)
    expected, here = record["data"], size_of(splits)
    different = [f"{name} {expected[name]}, got {here[name]}" for name in here if here[name] != expected[name]]
    if different:
        raise InputError(f"{given}: expected the data of the run, with {'; '.join(different)}; name it with --data")
    return splits


def data_of(folder: Path, record: Mapping[str, Any], data: str | None = None) -> str:
    """``KIND:PATH`` of a run's data, as given now or as recorded.

    A run folder may come from a stranger, and its record may name a Python file beside it. To open such data runs that
    file, so that it has to be named by the user.

    Raises:
        InputError: no data is recorded, or it is a Python file that was not named, or another one than the run's.
    """
    given = data or str(record["data"]["given"])
    if not given:
        raise InputError(
            f"{folder}: its data was given in Python and has no name; say with --data what it is, or write its page "
            "with deft.run"
        )
    if own_data(given) is None:
        return given
    if data is None:
        raise InputError(
            f"{folder}: its data is made by a Python file, which would be run: {given}; if you trust that file, name "
            f"it with --data {given}"
        )
    if code_of(given) != record["data"].get("code"):
        raise InputError(f"--data {given}: expected the Python file that the run was made with, got a changed one")
    return given
