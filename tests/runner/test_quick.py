from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.artifacts.review import Review
from deft.cli.main import main
from deft.recipes import frozen
from deft.runner import quick as module
from deft.runner.quick import answers, quick
from deft.settings import assign
from short import tiny

PIPELINE = tiny(frozen(), "precision=32-true", "segment=none", "corrections.held_out=0.0")


def test_answers(make_folder: Any, tmp_path: Path) -> None:
    """The same question is continued; other tags begin the next answer, which keeps features and review."""
    data, out = make_folder(tmp_path / "data", count=8, side=64), tmp_path / "answers"
    assert answers(out) == []
    page = quick(PIPELINE, f"folder:{data}", out, "frozen")
    assert page == out / "1" / "report.html" and page.exists()
    seeds = (out / "1" / "seeds" / "stage.json").stat().st_mtime_ns
    assert quick(PIPELINE, f"folder:{data}", out, "frozen") == page
    assert (out / "1" / "seeds" / "stage.json").stat().st_mtime_ns == seeds

    review = Review(out / "1", ("cat", "cow", "dog"))
    accept(review, "img_01")
    table = data / "labels.csv"
    table.write_text(table.read_text().replace("img_00,cat", "img_00,cat;dog"))
    assert quick(PIPELINE, f"folder:{data}", out, "frozen") == out / "2" / "report.html"
    assert answers(out) == [out / "1", out / "2"]
    for path in (out / "1" / "features").glob("*.safetensors"):
        assert os.path.samefile(path, out / "2" / "features" / path.name)
    assert json.loads((out / "2" / "corrected" / "corrections.json").read_text())
    assert set(Review(out / "2", ("cat", "cow", "dog")).read()) == {"img_01"}


def test_an_answer_takes_over_from_all_earlier_ones(make_folder: Any, tmp_path: Path) -> None:
    data, out = f"folder:{make_folder(tmp_path / 'data', count=8, side=64)}", tmp_path / "answers"
    for number, settings in enumerate((["seed=1"], ["seed=2", "frozen.stride=16"], ["seed=1"]), 1):
        assert quick(assign(PIPELINE, settings), data, out, "frozen") == out / str(number) / "report.html"
    for stage in ("features", "classifier", "seeds"):
        for path in (out / "1" / stage).rglob("*.*"):
            assert path.is_dir() or os.path.samefile(path, out / "3" / path.relative_to(out / "1")), path


def accept(review: Review, name: str) -> None:
    from deft.artifacts.review import ACCEPTED, Decision

    review.write_all([Decision(name, ACCEPTED, np.zeros((64, 64), dtype=np.uint8))])


def test_the_command(folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "quick", lambda *given: asked.append(given) or tmp_path / "report.html")
    assert main(["quick", f"folder:{folder_data}", "--weights", "none", "--set", "seed=3"]) == 0
    pipeline, data, out, name = asked[0]
    assert (pipeline.backbone, pipeline.weights, pipeline.seed) == ("tf_efficientnet_lite0", "none", 3)
    assert (data, out, name) == (f"folder:{folder_data}", Path("runs/quick"), "frozen_deft")
    assert "report.html" in capsys.readouterr().out
    assert main(["quick", f"folder:{folder_data}", "--no-deft", "--weights", "none"]) == 0
    assert asked[1][3] == "frozen"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "gone.safetensors"], "no weights found"),
        (["--backbone", "resnet999"], "unknown backbone"),
        (["--backbone", "test_resnet", "--weights", "none", "--set", "frozen.taps=9"], "frozen.taps"),
        (["--set", "frozen=none"], "frozen backbone"),
        (["--set", "inference.flip=true"], "inference.flip"),
    ],
)
def test_bad_input_is_told_before_any_work(
    words: list[str], said: str, folder_data: Path, tmp_path: Path, capsys: Any
) -> None:
    assert main(["quick", f"folder:{folder_data}", "--out", str(tmp_path / "q"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.safetensors"))
