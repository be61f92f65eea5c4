"""CLIP-ES from words to masks and page, with a small random model, without a classifier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import deft
from clip_model import write_clip
from deft.artifacts import load_seeds, read_json
from deft.cli.main import main
from deft.contracts import InputError
from deft.data import open_data
from deft.engine.precision import EXACT
from deft.pipeline import Pipeline
from deft.predict.seeds import load_locator
from deft.recipes import clip_text
from deft.runner.run import reads
from short import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def of(model: Path, *more: str) -> Pipeline:
    return tiny(clip_text(), f"seeds.model={model}", "seeds.layers=2", *more)


def test_words_go_all_the_way(model: Path, folder_data: Path, tmp_path: Path) -> None:
    given, run = f"folder:{folder_data}", tmp_path / "run"
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("class,prompts\ncat,cat;kitten\nbackground,grass;road\n")
    page = deft.run(of(model, f"seeds.prompts={prompts}"), given, run, name="clip_text")
    scores = json.loads((run / "scores.json").read_text())
    assert 0 <= scores["val"]["tags"]["map"] <= 1 and 0 <= scores["train"]["masks"]["used"]["miou"] <= 1
    text = page.read_text(encoding="utf-8")
    assert "No classifier was trained" in text and "(zero-shot)" in text and "another tool" not in text
    splits = open_data(given)
    for index, name in enumerate(splits.train.names):
        assert load_seeds(run / "seeds" / "train" / f"{name}.npz").classes == tuple(
            np.flatnonzero(splits.train.labels[index])
        )
    assert {model, prompts} <= set(reads(of(model, f"seeds.prompts={prompts}"), given, splits))

    stored = load_seeds(run / "seeds" / "train" / f"{splits.train.names[0]}.npz")
    locator = load_locator(run, EXACT)
    assert locator.present == 0.1
    found = locator.locate(splits.train[0].image, [locator.classes[k] for k in stored.classes])
    assert found.classes == stored.classes and found.scores == pytest.approx(stored.scores, abs=1e-2)

    key = read_json(run / "seeds" / "stage.json")["key"]
    prompts.write_text("class,prompts\ncat,cat;kitten\nbackground,grass\n")
    deft.run(of(model, f"seeds.prompts={prompts}", "segment=none", "refine=none"), given, tmp_path / "other")
    assert read_json(tmp_path / "other" / "seeds" / "stage.json")["key"] != key


def test_data_without_any_tag_runs_by_zero_shot_presence(model: Path, own_folder: Path, tmp_path: Path) -> None:
    (own_folder / "classes.txt").write_text("cat\ncow\ndog\n")
    table = own_folder / "labels.csv"
    names = [line.split(",")[0] for line in table.read_text().splitlines()[1:]]
    table.write_text("image,labels\n" + "".join(f"{name},\n" for name in names))
    short = ("refine=none", "segment=none", "seed_threshold=0.3")
    with pytest.raises(InputError, match="no training image has a label"):
        deft.run(of(model, *short), f"folder:{own_folder}", tmp_path / "tagged")
    page = deft.run(
        of(model, *short, "seeds.zero_shot=true", "seeds.presence=0.001"), f"folder:{own_folder}", tmp_path / "run"
    )
    assert "zero-shot presence above 0.001" in page.read_text(encoding="utf-8")
    train = open_data(f"folder:{own_folder}").train
    assert any(load_seeds(tmp_path / "run" / "seeds" / "train" / f"{name}.npz").classes for name in train.names)


def test_words_that_cannot_be_used_end_it_before_work(
    model: Path, folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("class,prompts\ncatt,cat\nbackground,cow\n")
    words = ["run", "clip_text", "--data", f"folder:{folder_data}", "--out", str(tmp_path / "run"), "--weights", "none"]
    words += ["--set", "seeds.layers=2", "--set", f"seeds.prompts={prompts}"]
    assert main([*words, "--set", f"seeds.model={model}"]) == 2
    said = capsys.readouterr().err
    assert "prompts for 'catt', which is no class of the data; did you mean 'cat'?" in said
    assert "the background word 'cow' is a class of the data" in said
    assert main(words) == 2
    assert "seeds.model: expected the folder of a model" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
