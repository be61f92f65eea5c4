from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import deft
from deft.artifacts import load_seeds
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.data import open_data
from deft.recipes import RECIPES, advcam, advcam_deft, irn, published
from deft.refine.irn import Irn
from deft.runner.run import reopen
from deft.seeds.advcam import AdvCam
from references import stored_miou
from short import tiny


def test_advcams_numbers() -> None:
    """The published settings, line by line."""
    pipeline = published(advcam())
    seeds, refine = pipeline.seeds, pipeline.refine
    assert isinstance(seeds, AdvCam) and isinstance(refine, Irn)
    assert isinstance(pipeline.own_classifier.head, LinearHead)
    assert (pipeline.backbone, pipeline.stride, pipeline.seed_threshold) == ("resnet50", 16, 0.15)
    assert dataclasses.replace(pipeline.own_classifier, freeze_stride=8) == irn().classifier
    assert pipeline.own_classifier.freeze_stride == 2
    assert (seeds.scales, seeds.flip, seeds.iterations, seeds.small_weight) == ((0.5, 1.0, 1.5, 2.0), True, 27, 2)
    assert (seeds.step, seeds.threshold, seeds.coefficient) == (0.08, 0.5, 7)
    assert (refine.labels.fg, refine.labels.bg, refine.power, refine.background) == (0.35, 0.15, 1.5, 0.25)
    assert advcam() == dataclasses.replace(pipeline, seed_threshold="auto", refine=Irn(power=1.5))


def test_deft_changes_the_classifier_and_the_score_that_is_climbed() -> None:
    assert isinstance(advcam_deft().own_classifier.head, DeftHead)
    assert advcam_deft().own_classifier.plan.epochs == 10
    assert advcam_deft().seeds == AdvCam(rectified=False)
    same = dataclasses.replace(advcam_deft(), classifier=advcam().classifier, seeds=AdvCam())
    assert same == advcam()


@pytest.mark.parametrize("name", ["advcam", "advcam_deft"])
def test_runs_to_its_page_and_is_read_back(name: str, folder_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    pipeline = tiny(RECIPES[name](), "segment=none", "seeds.scales=(0.5, 1.0)", "seeds.iterations=4")
    assert deft.run(pipeline, f"folder:{folder_data}", out, name=name).exists()
    scores = json.loads((out / "scores.json").read_text())
    train = open_data(f"folder:{folder_data}").train
    assert scores["train"]["masks"]["used"]["miou"] == pytest.approx(stored_miou(out / "masks", train))
    for index, image in enumerate(train.names):
        assert load_seeds(out / "seeds" / "train" / f"{image}.npz").classes == tuple(train.labels[index].nonzero()[0])
    run = reopen(out)
    try:
        assert run.pipeline.seeds == pipeline.seeds
    finally:
        run.out.close()
