"""Stages that map a function over images: seeds, refined maps, pseudo-masks, predictions.

Each has one or two *shares*: the images of a split, one file per image, and the function that makes it. Any process
that can open the run folder can take part in a share, whether it belongs to the run (:mod:`deft.engine.ranks`) or helps
it (:mod:`deft.runner.join`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deft.artifacts import Stage, load_seeds, save_mask, save_seeds
from deft.contracts import Dataset, LabelMap, Sample, SeedMaps
from deft.data.examples import without_truth
from deft.engine import ranks
from deft.engine.infer import device, for_each
from deft.engine.worklist import WorkList
from deft.seedmaps import full_mask
from deft.segment.deeplab import load_network
from deft.stages.context import Run
from deft.stages.returned import check_maps, check_prepared

Locate = Callable[[Sample], SeedMaps | None]
"""Function of an image with tags that returns its seeds; None if there are none."""
Refine = Callable[[Sample, SeedMaps], SeedMaps]
"""Function of an image and its seeds that returns refined maps."""


@dataclass(frozen=True)
class Share:
    """The images of one split and the function that makes a file of each."""

    title: str
    """Progress-bar label."""
    data: Dataset
    paths: list[Path]
    """One file per image; existing ones are kept."""
    work: Callable[[int, Sample], None]
    """Makes the file of an image."""
    claims: Path
    """Folder in which processes record what they have claimed."""
    on_device: bool = True
    """False if the work does not use a GPU."""
    read: bool = True
    """False if the work does not need the pixels."""

    def take_part(self, begin: bool = True) -> int:
        """Make files that no other process has claimed; returns, when all are made, how many this process made.

        Args:
            begin: False helps with a share that another process has begun.
        """
        todo = self.todo(begin)
        return for_each(self.data, todo, self.work, title=self.title, on_device=self.on_device, read=self.read)

    def todo(self, begin: bool = True) -> WorkList:
        """Work list of the images whose file is missing."""
        return WorkList(self.claims, self.paths, begin=begin)


def take_part(shares: Sequence[Share]) -> None:
    """Make the files of some shares, together with all processes that take part; every process of a run calls this."""
    for each in shares:
        each.take_part()
    ranks.barrier()
    if ranks.first():
        for each in shares:
            each.todo().clear()


def locating(run: Run, stage: Stage, locate: Locate, part: str) -> Share:
    """Seeds of the training images for their tags or, to be scored, of the held-out ones for theirs."""
    check_prepared(locate, 1, run.pipeline.seeds)
    data = dict(run.parts())[part]
    paths = run.files("seeds", data, ".npz", part)

    def work(index: int, sample: Sample) -> None:
        found = locate(sample)
        if found is not None:
            found = check_maps(found, sample, run.pipeline.seeds)
            save_seeds(paths[index], replace(found, photograph=sample.photograph), stage.key)

    return Share(f"seeds ({part})", without_truth(data), paths, work, _claims(stage, part))


def refining(run: Run, stage: Stage, refine: Refine) -> list[Share]:
    """Refined maps of the training images."""
    check_prepared(refine, 2, run.pipeline.refine)
    inputs, paths = run.files("seeds", run.train, ".npz", "train"), run.files("refined", run.train, ".npz")

    def work(index: int, sample: Sample) -> None:
        found = check_maps(refine(sample, load_seeds(inputs[index])), sample, run.pipeline.refine)
        save_seeds(paths[index], replace(found, photograph=sample.photograph), stage.key)

    return [Share("refined maps", without_truth(run.train), paths, work, _claims(stage))]


def masking(run: Run, stage: Stage) -> Share:
    """Pseudo-masks of the training images, palette PNGs named after them and as large as the photographs."""
    inputs, paths = run.map_files(), run.files("masks", run.train, ".png")
    cut = run.mask_threshold

    def work(index: int, sample: Sample) -> None:
        save_mask(paths[index], full_mask(load_seeds(inputs[index]), cut), stage.key)

    return Share("pseudo-masks", run.train, paths, work, _claims(stage), on_device=False, read=False)


def predicting(run: Run, stage: Stage, part: str) -> Share:
    """Masks that the network makes of one split, untagged, as large as the photographs."""
    data = dict(run.parts())[part]
    paths = run.files("predictions", data, ".png", part)
    network, _ = load_network(run.out.path / "segment" / "model.safetensors")
    network.to(device())

    def work(index: int, sample: Sample) -> None:
        found: LabelMap = run.pipeline.inference.predict(
            network, sample.image, data.classes, precision=run.pipeline.precision, size=sample.full_size
        )
        save_mask(paths[index], found.mask, stage.key)

    return Share(f"predictions ({part})", without_truth(data), paths, work, _claims(stage, part))


def _claims(stage: Stage, part: str = "all") -> Path:
    return stage.folder / f"claims-{part}"
