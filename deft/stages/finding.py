"""One share of a stage, prepared in a process that did not begin the run.

A run comes to a share after it has prepared the method that makes its files, and some methods hand out shares of their
own while they are prepared (confident labels, first maps). A process that is to make files of a share therefore
prepares the same method in the same folder. Whatever was made before the share is stored, and is only loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deft.artifacts import HELD_OUT_SEEDS, Stage, stored_seeds
from deft.engine.infer import device
from deft.engine.method import Refiner, SeedMethod, learning
from deft.engine.share import Share
from deft.stages.context import FEATURES, Run
from deft.stages.features import describing
from deft.stages.shares import locating, masking, predicting, refining


class _Found(BaseException):
    """The share that was looked for. Not an error, so that no method handles it."""

    def __init__(self, share: Share) -> None:
        self.share = share


class Seeking:
    """An engine that makes nothing: it looks for one share, and the files of those before it are made already."""

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title

    def make(self, share: Share) -> None:
        """Stop the search if this is the share that is looked for."""
        if (share.folder, share.title) == (self.folder, self.title):
            raise _Found(share)


def find_share(run: Run, stage: Stage, title: str) -> Share:
    """The share of a stage that another process has begun, prepared from what is stored.

    Args:
        run: its folder, held by the other process.
        stage: the stage of the share.
        title: the share's title.

    Raises:
        ValueError: the stage has no such share.
    """
    run.engine = Seeking(stage.folder, title)
    try:
        for share in _shares(run, stage):
            run.engine.make(share)
    except _Found as found:
        return found.share
    raise ValueError(f"expected a share of the stage {stage.name!r}, got {title!r}")


def _shares(run: Run, stage: Stage) -> Iterable[Share]:
    """The shares of a stage; those of a stage that trains are handed to the engine instead."""
    seeds, refine = run.pipeline.seeds, run.pipeline.refine
    frozen = run.pipeline.frozen
    if stage.name == FEATURES and frozen is not None:
        backbone = run.untrained().to(device())
        return [describing(run, stage, part, data, backbone, frozen) for part, data in run.parts()]
    if stage.name == "localiser":
        seeds.prepare(run.context(stage))
    elif stage.name in ("seeds", HELD_OUT_SEEDS):
        locate = seeds.prepare(run.context(_learned(run, "localiser", seeds) or stage))
        return [locating(run, stage, locate, "val" if stage.name == HELD_OUT_SEEDS else "train")]
    elif stage.name in ("refine", "refined") and refine is not None:
        stored = stored_seeds(run.files("seeds", run.train, ".npz", "train"))
        if stage.name == "refine":
            refine.prepare(run.context(stage, stored))
        else:
            learned = _learned(run, "refine", refine) or stage
            return [refining(run, stage, refine.prepare(run.context(learned, stored)))]
    elif stage.name == "masks":
        return [masking(run, stage)]
    elif stage.name == "predictions":
        return [predicting(run, stage, run.parts()[-1][0])]
    return []


def _learned(run: Run, name: str, method: SeedMethod | Refiner) -> Stage | None:
    """The finished stage in which a method has trained; None for one that trains nothing."""
    return None if learning(method) is None else run.stored(name)
