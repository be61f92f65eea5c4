"""A second round in the folder of a run: what a review changes, and what it leaves as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deft
from deft.artifacts import load_mask, read_json
from deft.artifacts.review import Review
from deft.contracts import InputError
from deft.data import open_data
from deft.metrics import Confusion
from deft.recipes import irn
from deft.runner.tune import tune
from deft.runner.verify import verify
from deft.settings import assign, fields_of
from deft.thresholds import read_tuned
from short import tiny

Again = Callable[..., dict[str, str]]
CLASSES = ("cat", "cow", "dog")
FIXED = ("seed_threshold=0.3", "refine.background=0.3", "precision=32-true", "threads=1")
SHORT = tiny(irn(), *FIXED, steps=4)
FIRST = ("classifier", "seeds", "seeds/val")
LATER = ("refine", "refined", "masks", "segment", "predictions")


@pytest.fixture(scope="module")
def first(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rounds") / "first"
    deft.run(SHORT, f"folder:{folder_data}", out, name="irn")
    return out


@pytest.fixture(scope="module")
def again(folder_data: Path) -> Again:
    """Runs the same command in a folder, and returns the keys of its stages."""

    def run(out: Path, *settings: str, corrected: Path | None = None) -> dict[str, str]:
        deft.run(assign(SHORT, settings), f"folder:{folder_data}", out, name="irn", corrected=corrected)
        return keys(out)

    return run


def keys(run: Path) -> dict[str, str]:
    return {name: read_json(run / name / "stage.json")["key"] for name in (*FIRST, *LATER)}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def truth(folder_data: Path, index: int) -> np.ndarray:
    mask = open_data(f"folder:{folder_data}").train[index].mask
    assert mask is not None
    return mask


@pytest.fixture(scope="module")
def second(first: Path, folder_data: Path, tmp_path_factory: pytest.TempPathFactory, again: Again) -> Path:
    """A second round: two corrected images, of which one is held out by its name, and one that was accepted."""
    out = Path(shutil.copytree(first, tmp_path_factory.mktemp("rounds") / "second"))
    review = Review(out, CLASSES)
    for index in (0, 2):
        review.write(f"img_{index:02d}", truth(folder_data, index), "corrected")
    review.write("img_03", load_mask(out / "masks" / "img_03.png"), "accepted")
    review.write("img_09", np.zeros((64, 64), np.uint8), "corrected")
    again(out)
    return out


def test_a_corrected_mask_changes_the_boundaries_and_all_that_follows(first: Path, second: Path) -> None:
    assert changed(keys(first), keys(second)) == set(LATER)
    for name in ("classifier/model.safetensors", *(f"seeds/train/img_{index:02d}.npz" for index in range(8))):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_what_takes_long_is_measured_again_only_if_it_changed(first: Path, second: Path) -> None:
    before, after = (read_json(run / "scores.json")["parts"] for run in (first, second))
    assert before.keys() == after.keys() == {"refinement", "precision", "doubtful"}
    assert changed(before, after) == {"refinement"}


def test_boundaries_learn_from_the_reviewed_masks(second: Path, folder_data: Path) -> None:
    assert (load_mask(second / "refine" / "labels" / "img_02.png") == truth(folder_data, 2)).all()
    assert (load_mask(second / "refine" / "labels" / "img_00.png") == 255).all()  # held out
    assert (load_mask(second / "corrected" / "masks" / "img_02.png") == truth(folder_data, 2)).all()


def test_scores_are_on_reviewed_images_that_taught_nothing(second: Path, folder_data: Path) -> None:
    scores = json.loads((second / "scores.json").read_text())
    found = scores["reviewed"]
    assert (found["taught"], found["held out"], found["rejected"]) == (2, 2, 0)
    assert found["masks"]["images"] == 1 and found["segmentation"]["images"] == 2
    expected = Confusion(3)
    expected.update(load_mask(second / "masks" / "img_00.png"), truth(folder_data, 0))
    assert found["masks"]["miou"] == pytest.approx(expected.miou())
    expected = Confusion(3)
    expected.update(load_mask(second / "predictions" / "train" / "img_00.png"), truth(folder_data, 0))
    expected.update(load_mask(second / "predictions" / "val" / "img_09.png"), np.zeros((64, 64), np.uint8))
    assert found["segmentation"]["miou"] == pytest.approx(expected.miou())
    assert not {"img_02", "img_03"} & set(scores["train"]["images"]) and "img_00" in scores["train"]["images"]


def test_the_page_says_which_number_is_which(second: Path) -> None:
    page = (second / "report.html").read_text(encoding="utf-8")
    assert "2 taught the networks with their masks and are scored nowhere, 2 are held out" in page
    assert "<td>reviewed</td>" in page


def test_the_folder_is_as_it_was_made(second: Path) -> None:
    assert verify(second).wrong == ()


def test_an_unchanged_review_makes_nothing_again(second: Path, again: Again) -> None:
    before = {path: path.stat().st_mtime_ns for path in second.rglob("stage.json")}
    again(second)
    assert {path: path.stat().st_mtime_ns for path in second.rglob("stage.json")} == before


def test_removing_the_review_brings_back_the_keys_and_the_bytes(
    first: Path, second: Path, tmp_path: Path, again: Again
) -> None:
    out = Path(shutil.copytree(second, tmp_path / "run"))
    shutil.rmtree(out / "review")
    assert again(out) == keys(first)
    assert not (out / "corrected").exists()
    for name in ("refine/model.safetensors", "segment/model.safetensors", "masks/img_02.png"):
        assert (out / name).read_bytes() == (first / name).read_bytes()


def test_the_same_review_in_another_folder_gives_the_same_bytes(second: Path, tmp_path: Path, again: Again) -> None:
    out = tmp_path / "other"
    assert again(out, corrected=second) == keys(second)
    for name in ("refine/model.safetensors", "segment/model.safetensors", "predictions/val/img_09.png"):
        assert (out / name).read_bytes() == (second / name).read_bytes()


class Stopped(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize("writes", [(1, 4, 9, 16), (2, 8, 25, 30)])
def test_stopped_between_any_two_files_of_the_second_round_it_ends_at_the_same_bytes(
    writes: tuple[int, ...], first: Path, second: Path, tmp_path: Path, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the n-th file gets its name, several times one after the other, then run to its end."""
    out = Path(shutil.copytree(first, tmp_path / "run"))
    shutil.copytree(second / "review", out / "review")
    rename = os.replace
    for count in writes:
        left = iter(range(count))

        def replace(source: Any, target: Any, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Stopped
            rename(source, target)

        with monkeypatch.context() as patched, pytest.raises(Stopped):
            patched.setattr(os, "replace", replace)
            again(out)
    assert again(out) == keys(second)
    assert verify(out).wrong == ()
    products = [*second.glob("*/model.safetensors"), *second.glob("masks/*.png"), *second.glob("predictions/*/*.png")]
    assert len(products) > 15
    for product in products:
        assert (out / product.relative_to(second)).read_bytes() == product.read_bytes(), product


def test_settings_of_corrections_may_change_and_change_only_what_learns_from_them(
    second: Path, tmp_path: Path, again: Again
) -> None:
    out = Path(shutil.copytree(second, tmp_path / "run"))
    assert changed(keys(second), again(out, "corrections.repeats=2")) == set(LATER)


def test_corrected_tags_change_the_classifier(first: Path, tmp_path: Path, folder_data: Path, again: Again) -> None:
    out = Path(shutil.copytree(first, tmp_path / "run"))
    Review(out, CLASSES).write("img_02", truth(folder_data, 2), "corrected", ["cat", "dog"])
    assert changed(keys(first), again(out)) == {*FIRST, *LATER}
    with np.load(out / "seeds" / "train" / "img_02.npz") as stored:
        assert stored["classes"].tolist() == [0, 2]


def test_rejected_images_teach_nothing_in_any_stage(first: Path, tmp_path: Path, again: Again) -> None:
    out = Path(shutil.copytree(first, tmp_path / "run"))
    Review(out, CLASSES).write("img_05", None, "rejected")
    assert changed(keys(first), again(out)) == {*FIRST, *LATER}
    assert not [path for path in out.glob("[srm]*/**/img_05.*") if path.parts[len(out.parts)] != "review"]
    assert len(list((out / "masks").glob("*.png"))) == 7
    Review(out, CLASSES).write("img_05", load_mask(first / "masks" / "img_05.png"), "accepted")
    assert not changed({"seeds": keys(first)["seeds"]}, again(out))


def test_thresholds_are_tuned_on_reviewed_masks_that_are_not_held_out(
    first: Path, tmp_path: Path, folder_data: Path
) -> None:
    out = Path(shutil.copytree(first, tmp_path / "run"))
    review = Review(out, CLASSES)
    for index in (0, 2, 3, 4, 5, 6):
        review.write(f"img_{index:02d}", truth(folder_data, index), "corrected")
    tune(out, reviewed=True)
    found = read_tuned(out)
    assert found is not None and found.images == tuple(f"img_{index:02d}" for index in range(2, 7))
    with pytest.raises(InputError, match=r"--masks .*beside --reviewed; give one of the two"):
        tune(out, tmp_path, reviewed=True)
    review.write("img_06", None, "rejected")
    with pytest.raises(InputError, match="at least 5 drawn masks to tune on, got 4"):
        tune(out, reviewed=True)


def test_a_folder_without_a_run_has_no_review(first: Path, tmp_path: Path, again: Again) -> None:
    with pytest.raises(InputError, match=r"--corrected .*expected the folder of a run"):
        again(tmp_path / "out", corrected=tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_processes_learn_the_same_from_a_review(second: Path, folder_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    known = fields_of(irn())
    settings = [f"{name}={value}" for name, value in fields_of(SHORT).items() if value != known[name]]
    command = [sys.executable, "-m", "deft", "run", "irn", "--data", f"folder:{folder_data}", "--out", str(out)]
    command += [
        "--corrected",
        str(second),
        "--reuse",
        str(second),
        "--devices",
        "2",
        *(word for item in settings for word in ("--set", item)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert keys(out) == keys(second)
    for path in [*(second / "corrected").rglob("*.png"), *(second / "refine" / "labels").glob("*.png")]:
        assert (out / path.relative_to(second)).read_bytes() == path.read_bytes(), path
