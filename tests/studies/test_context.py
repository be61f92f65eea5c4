from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deft.artifacts import load_mask, load_seeds, read_json
from deft.contracts import InputError
from deft.data import open_data
from deft.metrics import Confusion
from deft.seedmaps import to_mask, upsample
from deft.studies.context import context
from deft.studies.pairs import context_labels
from deft.studies.runner import StudyRunner

TINY = (
    "backbone=test_resnet",
    "weights=none",
    *(f"classifier.plan.{item}" for item in ("min_steps=20", "epochs=1", "batch=4", "workers=0")),
)


@pytest.fixture(scope="module")
def pasture(make_voc: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 images, 30 of them for training: dogs always on grass, cows on a road in two of three, cats on both."""
    return make_voc(tmp_path_factory.mktemp("data") / "voc", count=45, side=32)


def test_data_without_contexts_are_refused_before_training(folder_data: Path, voc_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs context labels"):
        context(StudyRunner(f"folder:{folder_data}", tmp_path))
    with pytest.raises(InputError, match="at least 5 images that have masks"):
        context(StudyRunner(f"voc:{voc_data}", tmp_path))
    assert not list(tmp_path.iterdir())


def test_scores_equal_those_of_a_loop_over_the_images_of_the_pair(pasture: Path, tmp_path: Path) -> None:
    runner = StudyRunner(f"voc:{pasture}", tmp_path, (0,), TINY, ("cam",))
    outcome = context(runner)
    text = (tmp_path / "context.md").read_text(encoding="utf-8")
    assert "| dog, grass | 10 | 0 | 1.00 | 1.00 | – |" in text
    (folder,) = [path.parent for path in (tmp_path / "runs" / "0").glob("cam-*/context.json")]
    swept = read_json(folder / "scores.json")["train"]["seeds"]["swept"]["threshold"]
    train = open_data(f"voc:{pasture}").train
    present = context_labels(train)
    cow, road = train.classes.index("cow"), train.contexts.index("road")
    totals = {"masks": Confusion(3), "seeds": Confusion(3)}
    for index, name in enumerate(train.names):
        truth = train[index].mask
        if not (train.labels[index, cow] and present[index, road]) or truth is None:
            continue
        totals["masks"].update(load_mask(folder / "masks" / f"{name}.png"), truth)
        seeds = load_seeds(folder / "seeds" / "train" / f"{name}.npz")
        totals["seeds"].update(to_mask(upsample(seeds), seeds.classes, swept), truth)
    found = json.loads((tmp_path / "context.json").read_text())["found"]["cam"]["0"]["cow, road"]
    for kind, confusion in totals.items():
        iou = confusion.iou()
        assert found["with"][kind]["class"] == pytest.approx(iou[cow + 1])
        assert found["with"][kind]["two"] == pytest.approx((iou[0] + iou[cow + 1]) / 2)
        assert found["with"][kind]["all"] == pytest.approx(confusion.miou())
    assert set(found) == {"with", "without"}
    assert outcome.open == 0
    before = (folder / "context.json").stat().st_mtime_ns
    context(replace(runner))
    assert (folder / "context.json").stat().st_mtime_ns == before
