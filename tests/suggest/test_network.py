"""The network's masks of the training photographs, made once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deft.artifacts import RunFolder, load_mask
from deft.runner.recorded import read_record
from deft.seedmaps import grid
from deft.segment.deeplab import load_network
from deft.stages.context import Run
from deft.suggest.network import ONE_VIEW, network_masks, network_stage


def opened(folder: Path) -> Run:
    pipeline, splits, _ = read_record(folder)
    return Run(pipeline, splits, RunFolder(folder, {}, own=False))


def test_masks_are_the_networks_on_the_grid_of_the_maps(run: Path) -> None:
    work = opened(run)
    stage = network_stage(work)
    assert stage is not None and not stage.done
    paths = network_masks(work, stage)
    network, classes = load_network(run / "segment" / "model.safetensors")
    for index, path in enumerate(paths):
        image = work.train[index].image
        mask = load_mask(path)
        assert mask.shape == grid(image.shape[:2])
        full = ONE_VIEW.predict(network, image, classes).mask[::4, ::4]
        assert (mask == full).mean() > 0.9


def test_they_are_made_once_and_again_only_if_they_are_damaged(run: Path) -> None:
    work = opened(run)
    stage = network_stage(work)
    assert stage is not None
    paths = network_masks(work, stage)
    before = [path.stat().st_mtime_ns for path in paths]
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[:-20])
    os.utime(paths[0], ns=(0, 0))
    assert network_masks(opened(run), stage) == paths
    assert paths[0].read_bytes() == content
    assert [path.stat().st_mtime_ns for path in paths[1:]] == before[1:]
    assert np.unique(load_mask(paths[0])).max() <= 3


def test_a_run_that_has_no_network_yet_has_no_masks(run: Path) -> None:
    (run / "segment" / "stage.json").unlink()
    assert network_stage(opened(run)) is None
