"""A run whose files of images are made on a Ray cluster: what the command sends, and what its workers do with it.

A worker opens the same run folder, on shared storage, makes the pipeline by the same recipe and prepares the same share
(:mod:`deft.stages.finding`). It writes the files itself, under the names that the command would use; the command only
learns how many there are. Training, the choice of thresholds and scoring stay with the command.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deft.artifacts import RunFolder
from deft.artifacts.record import run_record
from deft.contracts import InputError, SampleAugmentation
from deft.engine import ranks
from deft.engine.ray_engine import Call, Ray
from deft.engine.share import Share
from deft.pipeline import Pipeline
from deft.runner.recorded import open_data_of
from deft.runner.run import resolved
from deft.settings import plain
from deft.stages.context import Run
from deft.stages.finding import find_share
from deft.stages.make import round_before


@dataclass(frozen=True)
class OnRay:
    """An engine for :func:`deft.runner.run.run`."""

    ray: Ray
    chosen: Call
    """Returns the recipe's name and the pipeline, on any machine."""
    data: str
    """``KIND:PATH`` of the data, which every machine sees."""
    name: str
    """The recipe's name, as the command found it: with a digest if it is a file."""

    def make(self, share: Share) -> None:
        """Make the missing files on the cluster; every process of the run calls this, and the first one drives it."""
        with ranks.first_alone() as mine:
            if mine:
                self._drive(share)

    def _drive(self, share: Share) -> None:
        missing = share.missing()
        call = Call.of(
            open_share,
            chosen=self.chosen,
            data=self.data,
            name=self.name,
            folder=os.path.abspath(share.folder),
            title=share.title,
            files=_digest(share),
        )
        with tqdm(total=len(missing), desc=share.title, unit="image", mininterval=1.0, disable=not missing) as bar:
            for done in self.ray.map(call, missing, on_device=share.on_device):
                bar.update(done)


def open_share(
    chosen: Call, data: str, name: str, folder: str, title: str, files: str
) -> Callable[[Sequence[int]], int]:
    """Prepare a share of a run in a worker.

    Args:
        chosen: returns the recipe's name and the pipeline.
        data: ``KIND:PATH`` of its data.
        name: the name that ``chosen`` has to return.
        folder: of the share's stage.
        title: the share's title.
        files: digest of the names of its files.

    Returns:
        A function that makes the missing ones of some files and returns how many it was given.

    Raises:
        InputError: this machine does not see the run folder, or has other data or another recipe.
    """
    place = Path(folder)
    home = next((parent for parent in place.parents if (parent / "run.json").is_file()), None)
    if home is None or not (place / "stage.json").is_file():
        raise InputError(
            f"{folder}: expected the stage that the command has begun, found none; put the run folder on storage that "
            "every machine sees under the same path"
        )
    found, pipeline = chosen()
    if found != name:
        raise InputError(
            f"expected the recipe {name}, as where the command runs, got {found}; have the same file on every machine"
        )
    run = _open_run(home, pipeline, data)
    share = find_share(run, run.stored(place.relative_to(home).as_posix()), title)
    if _digest(share) != files:
        raise InputError(f"{data}: expected the images of the run in the same order, got others; open the same data")

    def make(items: Sequence[int]) -> int:
        share.make([index for index in items if not share.paths[index].exists()], threads=1, bar=False)
        return len(items)

    return make


def _open_run(folder: Path, pipeline: Pipeline, data: str) -> Run:
    """A run folder that the command holds, or the folder of one of its rounds; nothing is locked or written.

    The keys of its stages are read from their records, so that no file of the data is read for its digest.
    """
    record = run_record(folder)
    found, rounds = _of_record(resolved(pipeline, folder), record["settings"], folder)
    splits = open_data_of(folder, record, data)
    home = folder.parent if rounds else folder
    # Every network is one that the run has trained, so that nothing has to be begun from weights this machine may lack.
    return Run(replace(found, weights="none"), splits, RunFolder(folder, record, own=False), home=home)


def _of_record(pipeline: Pipeline, recorded: Any, folder: Path) -> tuple[Pipeline, int]:
    """The pipeline itself or that of an earlier round, whichever has the recorded settings, and how many rounds back.

    Raises:
        InputError: none of them has.
    """
    rounds = 0
    while _compared(plain(pipeline)) != _compared(recorded):
        classifier = pipeline.classifier
        if classifier is None or not isinstance(classifier.augment, SampleAugmentation):
            raise InputError(
                f"{folder}: expected the recipe of the run, got one with other settings; have the same version of the "
                "recipe's file or package on every machine"
            )
        pipeline, rounds = round_before(pipeline, classifier, classifier.augment), rounds + 1
    return pipeline, rounds


_ELSEWHERE = ("weights", "threads", "memory")
"""Settings of which a record holds something else: a digest of the weights, and what a machine had for the run."""


def _compared(settings: Any) -> Any:
    """Settings as JSON keeps them, without those of which a record holds something else."""
    return {name: value for name, value in json.loads(json.dumps(settings)).items() if name not in _ELSEWHERE}


def _digest(share: Share) -> str:
    """Digest of the names of a share's files, in order."""
    names = hashlib.sha256()
    for path in share.paths:
        names.update(os.fsencode(os.path.relpath(path, share.folder)) + b"\0")
    return names.hexdigest()
