from __future__ import annotations

import json
from pathlib import Path

import pytest

from deft.cli.main import main
from deft.thresholds import CRITERIA

TINY = [
    *("backbone=test_resnet", "weights=none", "seeds.scales=(1.0,)", "precision=32-true"),
    *(f"classifier.plan.{item}" for item in ("min_steps=4", "epochs=1", "batch=4", "workers=0")),
    *(f"refine.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=4", "workers=0")),
    "refine.labels.crf.iterations=1",
]


@pytest.fixture(scope="module")
def done(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    words = ["study", "thresholds", "--data", f"folder:{folder_data}", "--out", str(out), "--seeds", "1"]
    settings = [word for item in TINY for word in ("--set", item)]
    assert main([*words, "--systems", "cam", "irn", *settings]) == 0
    return out


def test_every_criterion_is_compared_with_the_best_threshold(done: Path) -> None:
    found = json.loads((done / "thresholds.json").read_text())["found"]
    for system, parts in (("cam", ("seeds",)), ("irn", ("seeds", "masks"))):
        one = found[system]["0"]
        for part in parts:
            assert one[part]["criteria"].keys() == {"auto", *CRITERIA, "published"}
            for at, loss in one[part]["criteria"].values():
                assert 0 <= at < 1 and loss >= 0
    assert "masks" not in found["cam"]["0"]


def test_confident_labels_are_compared_by_rule(done: Path) -> None:
    labels = json.loads((done / "thresholds.json").read_text())["found"]["irn"]["0"]["labels"]
    assert labels.keys() == {"as learned from, after the CRF", "auto", "three-class Otsu", "published"}
    assert labels["published"]["objects above"] == 0.30 and labels["published"]["background below"] == 0.05
    for one in labels.values():
        assert all(0 <= one[name] <= 1 for name in ("wrong objects", "wrong background", "open"))


def test_the_page_has_mean_and_worst_over_systems(done: Path) -> None:
    text = (done / "thresholds.md").read_text(encoding="utf-8")
    assert "| mean over systems |" in text and "| worst system |" in text
    assert "Gain of masks over their seeds" in text
    assert "| irn | used for training, after the CRF | 1 |" in text
