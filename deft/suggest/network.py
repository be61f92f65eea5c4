"""Masks that the segmentation network of a run makes of the training photographs, ``RUN/review/network/``.

A run does not need them and makes only those that its page shows. Here one view of each photograph is enough, and a
mask on the grid of the maps, with which it is compared; both make it some fifteen times cheaper than a prediction.
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F

from deft.artifacts import Stage, claim, file_stem, save_mask
from deft.artifacts.review import FOLDER, NETWORK
from deft.contracts import Sample
from deft.data.examples import without_truth
from deft.engine.infer import device
from deft.engine.share import HERE, Share
from deft.guards.output import make_folder, refuse_link
from deft.seedmaps import grid
from deft.segment.deeplab import load_network
from deft.segment.inference import Inference
from deft.settings import key_of
from deft.stages.context import Run

ONE_VIEW = Inference(scales=(1.0,), flip=False)


def network_stage(run: Run) -> Stage | None:
    """The stage of these masks, made or not; None where the run has no trained network."""
    if run.pipeline.segment is None:
        return None
    segment = run.out.path / "segment"
    if not (segment / "stage.json").exists() or not run.stored("segment").done:
        return None
    folder = run.out.path / FOLDER / NETWORK
    return Stage(NETWORK, folder, key_of(NETWORK, ONE_VIEW, run.stored("segment").key))


def network_masks(run: Run, stage: Stage) -> list[Path]:
    """The file of each training image's mask, uint8 on the grid of its maps; those that are missing are made."""
    paths = [stage.folder / f"{file_stem(name)}.png" for name in run.train.names]
    if stage.done:
        stage.verify()
    if stage.done:
        return paths
    review = run.out.path / FOLDER
    refuse_link(review)
    make_folder(review, "review")
    with claim(review / f"lock.{NETWORK}"), stage.making():
        HERE.make(_share(run, stage, paths))
    return paths


def _share(run: Run, stage: Stage, paths: list[Path]) -> Share:
    network, _ = load_network(run.out.path / "segment" / "model.safetensors")
    network.to(device())

    def work(index: int, sample: Sample) -> None:
        found = ONE_VIEW.probabilities(
            network, sample.image, precision=run.pipeline.precision, features=run.stored_features(sample)
        )
        cells = grid((sample.image.shape[0], sample.image.shape[1]))
        # Its cells are off by at most half a cell from those of the maps, which is less than either is exact.
        coarse = F.interpolate(found[None], size=cells, mode="bilinear", align_corners=False)[0]
        save_mask(paths[index], coarse.argmax(dim=0).byte().cpu().numpy(), stage.key)

    return Share("the network's masks", without_truth(run.train), stage.folder, paths, work)
