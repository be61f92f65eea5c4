from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import deft
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.contracts import InputError
from deft.data import open_data
from deft.engine.optimise import Adam
from deft.recipes import amn, amn_deft, published
from deft.refine.irn import Irn
from deft.refine.labels import ConfidentLabels
from deft.seeds.amn import Amn
from short import tiny

MAPS = ("refine=none", "segment=none")


def test_amns_numbers() -> None:
    """The published settings, line by line."""
    pipeline = published(amn())
    seeds, refine = pipeline.seeds, pipeline.refine
    assert isinstance(seeds, Amn) and isinstance(refine, Irn)
    assert isinstance(seeds.labels, ConfidentLabels)
    assert isinstance(pipeline.classifier.head, LinearHead)
    assert (pipeline.backbone, pipeline.stride, pipeline.seed_threshold) == ("resnet50", 16, 0.25)
    assert (seeds.labels.fg, seeds.labels.bg) == (0.30, 0.05)
    assert (seeds.plan.epochs, seeds.plan.batch, seeds.plan.steps(10_582)) == (5, 16, 3310)
    assert isinstance(seeds.plan.optimiser, Adam)
    assert (seeds.plan.optimiser.lr, seeds.plan.optimiser.decay, seeds.plan.optimiser.power) == (5e-6, 1e-4, 0)
    assert seeds.plan.optimiser.lr * seeds.head_lr == pytest.approx(1e-4)
    assert (seeds.dropout, seeds.smoothing, seeds.crop, seeds.scale) == (0.1, 0.4, 1.0, (0.5, 1.5))
    assert (len(seeds.scales), seeds.mirror) == (4, True)
    assert (refine.labels.fg, refine.labels.bg, refine.background, refine.power) == (0.45, 0.15, 0.25, 1.3)
    assert amn() == replace(pipeline, seed_threshold="auto", seeds=Amn(ConfidentLabels()), refine=Irn(power=1.3))


def test_deft_changes_the_classifier_and_nothing_of_amn() -> None:
    assert isinstance(amn_deft().classifier.head, DeftHead)
    assert amn_deft().classifier.plan.epochs == 10
    assert replace(amn_deft(), classifier=amn().classifier) == amn()


def test_scales_are_changed_without_training_again(folder_data: Path, tmp_path: Path) -> None:
    first, other = tiny(amn(), *MAPS), tiny(amn(), "seeds.scales=(0.5, 1.0)", *MAPS)
    deft.run(first, f"folder:{folder_data}", tmp_path / "a")
    deft.run(other, f"folder:{folder_data}", tmp_path / "b", reuse=[tmp_path / "a"])
    records = [(tmp_path / run / "localiser" / "stage.json").read_text() for run in "ab"]
    assert records[0] == records[1]
    name = open_data(f"folder:{folder_data}").train.names[0]
    stored = [(tmp_path / run / "seeds" / "train" / f"{name}.npz").read_bytes() for run in "ab"]
    assert stored[0] != stored[1]


def test_nested_settings_are_reached_and_checked() -> None:
    seeds = tiny(amn(), "seeds.base.scales=(1.0,)", "seeds.plan.optimiser.lr=1e-4").seeds
    assert isinstance(seeds, Amn)
    assert (seeds.base, seeds.plan.optimiser.lr) == (replace(amn().seeds.base, scales=(1.0,)), 1e-4)
    with pytest.raises(InputError, match=r"seeds\.smoothing"):
        tiny(amn(), "seeds.smoothing=1.0")
