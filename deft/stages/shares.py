"""Stages that map a function over images: seeds, refined maps, pseudo-masks, predictions.

Each has one share (:class:`deft.engine.share.Share`): the images of a split, one file per image, and the function that
makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from deft.artifacts import Stage, load_seeds, save_mask, save_seeds
from deft.contracts import LabelMap, Sample, SeedMaps
from deft.data.examples import without_truth
from deft.engine.infer import device
from deft.engine.share import Share
from deft.seedmaps import full_mask
from deft.segment.deeplab import load_network
from deft.stages.context import Run
from deft.stages.returned import check_maps, check_prepared

Locate = Callable[[Sample], SeedMaps | None]
"""Function of an image with tags that returns its seeds; None if there are none."""
Refine = Callable[[Sample, SeedMaps], SeedMaps]
"""Function of an image and its seeds that returns refined maps."""


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

    return Share(f"seeds ({part})", without_truth(data), stage.folder, paths, work)


def refining(run: Run, stage: Stage, refine: Refine) -> Share:
    """Refined maps of the training images."""
    check_prepared(refine, 2, run.pipeline.refine)
    inputs, paths = run.files("seeds", run.train, ".npz", "train"), run.files("refined", run.train, ".npz")

    def work(index: int, sample: Sample) -> None:
        found = check_maps(refine(sample, load_seeds(inputs[index])), sample, run.pipeline.refine)
        save_seeds(paths[index], replace(found, photograph=sample.photograph), stage.key)

    return Share("refined maps", without_truth(run.train), stage.folder, paths, work)


def masking(run: Run, stage: Stage) -> Share:
    """Pseudo-masks of the training images, palette PNGs named after them and as large as the photographs."""
    inputs, paths = run.map_files(), run.files("masks", run.train, ".png")
    cut = run.mask_threshold

    def work(index: int, sample: Sample) -> None:
        save_mask(paths[index], full_mask(load_seeds(inputs[index]), cut), stage.key)

    return Share("pseudo-masks", run.train, stage.folder, paths, work, on_device=False, read=False)


def predicting(run: Run, stage: Stage, part: str) -> Share:
    """Masks that the network makes of one split, untagged, as large as the photographs."""
    data = dict(run.parts())[part]
    paths = run.files("predictions", data, ".png", part)
    network, _ = load_network(run.out.path / "segment" / "model.safetensors")
    network.to(device())

    def work(index: int, sample: Sample) -> None:
        found: LabelMap = run.pipeline.inference.predict(
            network,
            sample.image,
            data.classes,
            precision=run.pipeline.precision,
            size=sample.full_size,
            features=run.stored_features(sample),
        )
        save_mask(paths[index], found.mask, stage.key)

    return Share(f"predictions ({part})", without_truth(data), stage.folder, paths, work)
