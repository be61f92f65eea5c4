"""Every recipe end to end, tiny; skipping, going on after a kill, sharing stages, refusing other settings."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import deft
from deft.artifacts import load_mask, load_seeds, read_json, save_mask
from deft.augment import Cda
from deft.classify.deft import DeftHead
from deft.classify.sma import SmaHead
from deft.contracts import InputError
from deft.data import open_data
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, cam, irn, irn_deft
from deft.refine.irn import Irn
from deft.runner.run import needed_bytes, reopen, resolved
from deft.seedmaps import to_mask, upsample
from deft.seeds.advcam import AdvCam
from deft.settings import assign
from deft.thresholds import MapStatistics, choose, choose_refined

TINY = [
    "backbone=test_resnet",
    "weights=none",
    *(f"classifier.plan.{item}" for item in ("min_steps=20", "epochs=2", "batch=4", "workers=0")),
]
TINY_REFINE = [f"refine.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=4", "workers=0")]
TINY_REFINE += [f"refine.labels.{item}" for item in ("fg=0.02", "bg=0.01", "crf.iterations=0")]  # so little is sure
TINY_PSA = [*TINY_REFINE[:4], "refine.labels.crf.iterations=0"]
TINY_LOCALISER = [item.replace("refine.", "seeds.") for item in TINY_REFINE] + ["seeds.scales=(1.0,)"]
TINY_SEGMENT = [f"segment.plan.{item}" for item in ("min_steps=2", "epochs=1", "batch=2", "workers=0")]


def tiny(pipeline: Pipeline, *more: str) -> Pipeline:
    settings = [*TINY]
    if isinstance(pipeline.classifier.head, DeftHead):
        settings += ["classifier.head.swap_epoch=2"]
    if isinstance(pipeline.classifier.head, SmaHead):
        settings += ["classifier.head.deft.swap_epoch=2"]
    if pipeline.classifier is not None and isinstance(pipeline.classifier.augment, Cda):
        settings += ["classifier.augment.share=(0.01, 1.0)"]  # so little is learned that a mask may be anything
    if isinstance(pipeline.seeds, AdvCam):
        settings += ["seeds.iterations=2", "seeds.scales=(1.0,)"]
    if pipeline.seeds.learning is not None:
        settings += TINY_LOCALISER
    if pipeline.refine is not None:
        settings += TINY_REFINE if isinstance(pipeline.refine, Irn) else TINY_PSA
    if pipeline.segment is not None:
        settings += [*TINY_SEGMENT, "segment.channels=16"]
    return assign(pipeline, [*settings, *more])


@pytest.fixture(scope="module")
def done(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "irn_deft"
    deft.run(tiny(irn_deft()), f"folder:{folder_data}", out, name="irn_deft")
    return out


def files(out: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"external"}))  # it needs maps: tests/recipes has it
def test_every_recipe_runs_to_its_page(name: str, folder_data: Path, tmp_path: Path) -> None:
    page = deft.run(tiny(RECIPES[name]()), f"folder:{folder_data}", tmp_path / "run", name=name)
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert 0 <= scores["train"]["masks"]["used"]["miou"] <= 1
    assert 0 <= scores["val"]["tags"]["map"] <= 1
    assert ("segmentation" in scores["val"]) == (RECIPES[name]().segment is not None)


def test_masks_have_the_images_names_sizes_and_only_their_tags(done: Path, folder_data: Path) -> None:
    train = open_data(f"folder:{folder_data}").train
    masks = sorted(path.stem for path in (done / "masks").glob("*.png"))
    assert masks == sorted(train.names)
    for index, name in enumerate(train.names):
        mask = load_mask(done / "masks" / f"{name}.png")
        assert mask.shape == train[index].image.shape[:2]
        allowed = {0} | {k + 1 for k, present in enumerate(train.labels[index]) if present}
        assert set(mask.ravel().tolist()) <= allowed


def test_the_same_command_again_makes_nothing_again(done: Path, folder_data: Path) -> None:
    before = files(done)
    assert "thresholds" in json.loads((done / "run.json").read_text())
    deft.run(tiny(irn_deft()), f"folder:{folder_data}", done, name="irn_deft")
    after = files(done)
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"report.html", "lock"}
    assert before.keys() == after.keys()


def test_other_settings_are_refused(done: Path, folder_data: Path) -> None:
    with pytest.raises(InputError, match=r"settings\.classifier\.head\.maps: 256 in the folder, 8 now"):
        deft.run(tiny(irn_deft(), "classifier.head.maps=8"), f"folder:{folder_data}", done, name="irn_deft")


def test_stages_of_equal_settings_are_taken_over(done: Path, folder_data: Path, tmp_path: Path) -> None:
    other = tiny(irn_deft(), "seed_threshold=0.2")
    deft.run(other, f"folder:{folder_data}", tmp_path / "b", reuse=[done], name="irn_deft")
    for stage in ("classifier", "seeds", "refine"):
        assert (tmp_path / "b" / stage / "stage.json").read_text() == (done / stage / "stage.json").read_text()


def test_a_number_in_the_place_of_auto_is_other_settings(done: Path, folder_data: Path) -> None:
    with pytest.raises(InputError, match=r"settings\.seed_threshold: 'auto' in the folder, 0\.2 now"):
        deft.run(tiny(irn_deft(), "seed_threshold=0.2"), f"folder:{folder_data}", done, name="irn_deft")


def test_the_record_says_which_thresholds_were_used_and_how_they_were_chosen(done: Path) -> None:
    record, scores = (json.loads((done / name).read_text()) for name in ("run.json", "scores.json"))
    assert record["settings"]["seed_threshold"] == "auto"
    found = record["thresholds"]
    assert found == scores["thresholds"]
    assert found.keys() == {"seeds", "masks"}  # of the labels there is nothing to choose: they are numbers here
    seeds, refined = (
        MapStatistics.from_json(read_json(done / stage / "statistics.json")) for stage in ("seeds", "refined")
    )
    for name, choice in (("seeds", choose(seeds)), ("masks", choose_refined(refined, seeds))):
        assert choice is not None
        assert found[name] == {
            "threshold": choice.threshold,
            "chosen": "auto",
            "auto": choice.threshold,
            "from": choice.images,
            "equally good": [choice.low, choice.high],
        }
        part = scores["train"][name]
        assert part["used"] == {"chosen": "auto", **part["auto"]}
        assert part["used"]["threshold"] == choice.threshold
        assert "fixed" not in part
    assert scores["val"]["seeds"]["used"]["threshold"] == found["seeds"]["threshold"]


def test_masks_are_cut_at_the_chosen_threshold(done: Path) -> None:
    cut = json.loads((done / "run.json").read_text())["thresholds"]["masks"]["threshold"]
    stored = sorted((done / "refined").glob("*.npz"))
    assert stored
    for path in stored:
        seeds = load_seeds(path)
        expected = to_mask(upsample(seeds), seeds.classes, cut)
        assert (load_mask(done / "masks" / f"{path.stem}.png") == expected).all()


def test_the_truth_changes_no_chosen_threshold(done: Path, folder_data: Path, tmp_path: Path) -> None:
    """Another truth of the same photographs: other scores, the same masks."""
    other = tmp_path / "photos"
    shutil.copytree(folder_data, other)
    for path in (other / "masks").glob("*.png"):
        save_mask(path, load_mask(path)[::-1].copy())
    out = tmp_path / "run"
    deft.run(tiny(irn_deft(), "segment=none"), f"folder:{other}", out, name="irn_deft")
    for path in sorted((done / "masks").glob("*.png")):
        assert (load_mask(out / "masks" / path.name) == load_mask(path)).all()
    one, two = (json.loads((folder / "scores.json").read_text()) for folder in (done, out))
    assert one["thresholds"] == two["thresholds"]
    assert one["train"]["seeds"]["curve"] != two["train"]["seeds"]["curve"]


@pytest.mark.parametrize(
    ("recipe", "settings", "kinds"),
    [
        ("irn", ("refine.labels.fg=auto", "refine.labels.bg=0.01", "refine.background=0.3"), {"fg"}),
        ("psa", ("refine.labels.alpha_low=auto", "refine.labels.alpha_high=auto"), {"alpha_low", "alpha_high"}),
    ],
)
def test_a_run_on_drawings_chooses_what_is_auto_and_goes_on_in_its_folder(
    recipe: str, settings: tuple[str, ...], kinds: set[str], tmp_path: Path
) -> None:
    pipeline = tiny(RECIPES[recipe](), "segment=none", *settings)
    out, data = tmp_path / "run", "demo:train=8,val=2,size=64"
    deft.run(pipeline, data, out, name=recipe)
    before, record = files(out), json.loads((out / "run.json").read_text())
    found = record["thresholds"]
    alpha = {"refine.alpha"} if recipe == "psa" else set()
    assert found.keys() == {"seeds", "masks", "refine, confident labels"} | alpha
    assert found["refine, confident labels"].keys() == kinds
    assert found["masks"]["chosen"] == ("fixed" if recipe == "irn" else "auto")
    assert recipe != "irn" or found["masks"]["threshold"] == found["masks"]["fixed"] == 0.3
    assert record["settings"]["seed_threshold"] == "auto"  # the record holds what was asked for, too

    (out / "scores.json").unlink()
    deft.run(pipeline, data, out, name=recipe)
    after = files(out)
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"report.html", "lock", "scores.json", "run.json"}
    assert json.loads((out / "run.json").read_text()) == record
    run = reopen(out)
    try:
        assert run.pipeline == resolved(pipeline, out)
        assert run.cuts("refined").used == found["masks"]["threshold"]
    finally:
        run.out.close()


def test_thresholds_are_chosen_where_all_processes_are_and_not_while_one_scores(
    folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process makes masks of its own images, and one scores alone: to meet there is to wait for ever."""
    from deft.engine import ranks
    from deft.runner import run as runner
    from deft.stages import make

    alone: list[str] = []
    agreed, scoring, shared = ranks.agreed, runner.evaluate, make.masking

    def meeting(flag: bool) -> bool:
        assert not alone, alone
        return agreed(flag)

    def by_itself(what: str, task: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*given: Any) -> Any:
            alone.append(what)
            try:
                return task(*given)
            finally:
                alone.pop()

        return inner

    monkeypatch.setattr(ranks, "agreed", meeting)
    monkeypatch.setattr(runner, "evaluate", by_itself("scoring", scoring))

    def masking(run: Any, stage: Any) -> Any:
        share = shared(run, stage)
        return replace(share, work=by_itself("one mask", share.work))

    monkeypatch.setattr(make, "masking", masking)
    deft.run(tiny(cam(), "segment=none"), f"folder:{folder_data}", tmp_path / "run")


def test_a_run_is_read_back_as_it_was(done: Path) -> None:
    run = reopen(done)
    try:
        assert run.pipeline.classifier == tiny(irn_deft()).classifier
        assert run.pipeline.refine == tiny(irn_deft()).refine
    finally:
        run.out.close()


def test_users_files_are_not_touched(own_folder: Path, tmp_path: Path, tree_state: Callable[[Path], str]) -> None:
    before = tree_state(own_folder)
    deft.run(tiny(cam(), "segment=none"), f"folder:{own_folder}", tmp_path / "run")
    assert tree_state(own_folder) == before


def test_without_truth_the_page_says_so(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    photos = make_folder(tmp_path / "photos", count=6, side=64)
    shutil.rmtree(photos / "masks")
    (photos / "val.txt").unlink()
    page = deft.run(tiny(irn()), f"folder:{photos}", tmp_path / "run")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert "train" not in scores
    assert scores["coverage"]["images"] == 6
    text = page.read_text(encoding="utf-8")
    assert "Nothing here could be scored" in text
    assert "no held-out split" in text
    assert len(list((tmp_path / "run" / "predictions" / "train").glob("*.png"))) == 6


def test_faults_are_told_before_training(own_folder: Path, tmp_path: Path) -> None:
    with (own_folder / "labels.csv").open("a") as file:
        file.write("missing,cow\n")
    with pytest.raises(InputError, match=r"labels.csv:8: no image 'missing'"):
        deft.run(tiny(cam()), f"folder:{own_folder}", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killed_anywhere_it_ends_at_the_same_masks(done: Path, folder_data: Path, tmp_path: Path) -> None:
    """SIGKILL at rising moments, then the same command: masks and weights are those of the unbroken run."""
    words = ["run", "irn_deft", "--data", f"folder:{folder_data}", "--out", str(tmp_path / "run")]
    settings = [*TINY, "classifier.head.swap_epoch=2", *TINY_REFINE, *TINY_SEGMENT, "segment.channels=16"]
    command = [sys.executable, "-m", "deft", *words, *(w for item in settings for w in ("--set", item))]
    for wait in (6.0, 9.0, 12.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    products = [
        path.relative_to(done)
        for pattern in ("masks/*.png", "predictions/*/*.png", "seeds/*/*.npz", "*/model.safetensors")
        for path in sorted(done.glob(pattern))
    ]
    assert len(products) > 20
    for product in products:
        assert (tmp_path / "run" / product).read_bytes() == (done / product).read_bytes(), product


def test_the_guess_of_bytes_grows_with_the_images(folder_data: Path) -> None:
    assert needed_bytes(open_data(f"folder:{folder_data}"), cam()) > 100e6
