"""``deft tune``: what a few drawn masks say, blended with the choice without masks, and what is made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deft
from deft.artifacts import load_mask, load_seeds
from deft.cli.main import main
from deft.contracts import InputError
from deft.data import open_data
from deft.recipes import cam
from deft.runner.tune import Drawn, blend, tune, tuned_threshold
from deft.seedmaps import to_mask, upsample
from deft.thresholds import Choice, read_tuned
from short import tiny

SHORT = tiny(cam(), "segment=none", "precision=32-true", steps=4)


@pytest.fixture(scope="module")
def finished(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "cam"
    deft.run(SHORT, f"folder:{folder_data}", out, name="cam")
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_masks_and_the_choice_without_them_share_the_say() -> None:
    curve = np.zeros(100)
    curve[60] = 1
    assert blend(curve, 0.30, 5) == pytest.approx((5 * 0.60 + 10 * 0.30) / 15)
    assert blend(curve, 0.30, 10) == pytest.approx(0.45)
    assert blend(curve, 0.30, 1000) == pytest.approx(0.60, abs=0.005)


def test_equal_masks_leave_nothing_to_chance() -> None:
    one = np.zeros((2, 1, 101), dtype=np.int64)
    one[1, 0, 51:], one[0, 0, :51] = 10, 10  # objects lie above 0.50, the background below
    totals = one.sum(axis=(1, 2))
    same = Drawn(np.stack([one] * 6), np.stack([totals] * 6))
    threshold, off = tuned_threshold(same, Choice(0.5, 0.4, 0.6, 9))
    assert threshold == 0.50 and off == 0
    with pytest.raises(InputError, match="one value everywhere"):
        tuned_threshold(same, None)


def test_it_remakes_the_masks_and_scores_only_the_other_images(run: Path, folder_data: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    before = json.loads((run / "scores.json").read_text())
    classifier = (run / "classifier" / "model.safetensors").stat()
    found, page = tune(run, most=6)
    assert len(found.images) == 6 and page.exists()
    scores = json.loads((run / "scores.json").read_text())
    assert scores["train"]["seeds"]["used"]["chosen"] == "tuned"
    assert set(scores["train"]["images"]) == set(before["train"]["images"]) - set(found.images)
    assert json.loads((run / "run.json").read_text())["thresholds"]["seeds"]["chosen"] == "tuned"
    assert "tuned on the masks of 6" in page.read_text(encoding="utf-8")
    cut = found.thresholds["seeds"]
    for name in data.names:
        seeds = load_seeds(run / "seeds" / "train" / f"{name}.npz")
        expected = to_mask(upsample(seeds), seeds.classes, cut)
        assert np.array_equal(load_mask(run / "masks" / f"{name}.png"), expected)
    assert (run / "classifier" / "model.safetensors").stat().st_mtime_ns == classifier.st_mtime_ns
    again, _ = tune(run, most=6)
    assert again == found == read_tuned(run)


def test_the_command_that_made_the_run_keeps_what_was_tuned(run: Path, folder_data: Path) -> None:
    found, _ = tune(run, most=6)
    deft.run(SHORT, f"folder:{folder_data}", run, name="cam")
    assert json.loads((run / "scores.json").read_text())["thresholds"]["seeds"]["tuned"] == found.thresholds["seeds"]


def test_masks_from_a_folder(run: Path, folder_data: Path, tmp_path: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    for name in data.names[:5]:
        shutil.copy(folder_data / "masks" / f"{name}.png", drawn)
    found, _ = tune(run, drawn)
    assert found.images == data.names[:5]


@pytest.mark.parametrize("kind", ["few", "stranger", "size", "value", "nothing", "no run"])
def test_what_cannot_be_tuned_on_is_named(
    kind: str, run: Path, folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = open_data(f"folder:{folder_data}").train
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    for name in data.names[: 4 if kind == "few" else 6]:
        shutil.copy(folder_data / "masks" / f"{name}.png", drawn)
    mask = Image.open(drawn / f"{data.names[0]}.png")
    if kind == "stranger":
        mask.save(drawn / "nobody.png")
    elif kind == "size":
        mask.resize((32, 32), Image.Resampling.NEAREST).save(drawn / f"{data.names[0]}.png")
    elif kind == "value":
        Image.fromarray(np.full((64, 64), 77, dtype=np.uint8)).save(drawn / f"{data.names[0]}.png")
    where = {"nothing": tmp_path / "gone"}.get(kind, drawn)
    words = {"few": "at least 5", "stranger": "nobody.png", "size": "32 x 32", "value": "77", "nothing": "gone"}
    before = (run / "scores.json").read_bytes()
    assert main(["tune", str(tmp_path if kind == "no run" else run), "--masks", str(where)]) == 2
    said = capsys.readouterr().err
    assert words.get(kind, "finished run") in said and "Traceback" not in said
    assert (run / "scores.json").read_bytes() == before and read_tuned(run) is None
