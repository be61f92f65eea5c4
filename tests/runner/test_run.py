"""Every recipe end to end, tiny; skipping, sharing stages, refusing other settings."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import deft
from deft.artifacts import load_mask, load_seeds, read_json, save_mask, write_json
from deft.augment import Cda
from deft.contracts import InputError, Splits
from deft.data import open_data
from deft.engine import ranks, threads
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, cam, cda, external, irn, irn_deft
from deft.runner import run as runner
from deft.runner.recorded import reopen
from deft.runner.run import check_reuse, description, needed_bytes, resolved
from deft.seedmaps import to_mask, upsample
from deft.settings import restore
from deft.stages import make
from deft.thresholds import MapStatistics, choose, choose_refined
from references import stored_miou
from short import tiny


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


SHORT = {"demo": ("seeds.scales=(0.5, 1.0, 1.5)",), "bcam": ("classifier.head.map=Eq7",)}
"""Settings beside those of :func:`short.tiny`: some maps are empty after so few steps, the demo's at one scale."""


ELSEWHERE = {"external", "clip_text", "sam_vote", "sam_vote_deft"}
"""Recipes that need maps or masks: tests/recipes has them."""


def to_what_is_its_own(name: str, pipeline: Pipeline) -> Pipeline:
    """The pipeline without a refinement and a network that are irn's: those of irn and irn_deft are enough."""
    base = tiny(irn())
    if name in ("irn", "irn_deft") or (pipeline.refine, pipeline.segment) != (base.refine, base.segment):
        return pipeline
    if pipeline.classifier is not None and isinstance(pipeline.classifier.augment, Cda):  # rounds need both
        return pipeline
    return replace(pipeline, refine=None, segment=None)


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - ELSEWHERE))
def test_every_recipe_runs_to_its_page(name: str, folder_data: Path, tmp_path: Path) -> None:
    out, given, splits = tmp_path / "run", f"folder:{folder_data}", open_data(f"folder:{folder_data}")
    pipeline = to_what_is_its_own(name, tiny(RECIPES[name](), *SHORT.get(name, ())))
    page = deft.run(pipeline, given, out, name=name)
    assert page == out / "report.html"
    assert f"<h1><bdi>{name} on {given}</bdi></h1>" in page.read_text(encoding="utf-8")
    scores = json.loads((out / "scores.json").read_text())
    assert splits.val is not None
    assert scores["train"]["masks"]["used"]["miou"] == pytest.approx(stored_miou(out / "masks", splits.train))
    assert 0 <= scores["val"]["tags"]["map"] <= 1
    if pipeline.segment is None:
        assert "segmentation" not in scores["val"]
    else:
        network = stored_miou(out / "predictions" / "val", splits.val)
        assert scores["val"]["segmentation"]["miou"] == pytest.approx(network)
    for part, data in (("train", splits.train), ("val", splits.val)):
        for index, image in enumerate(data.names):
            tags = tuple(data.labels[index].nonzero()[0])
            assert load_seeds(out / "seeds" / part / f"{image}.npz").classes == tags
            if part == "train":
                assert set(np.unique(load_mask(out / "masks" / f"{image}.png"))) <= {0, *(k + 1 for k in tags)}
    run = reopen(out)
    try:
        assert run.pipeline == resolved(pipeline)
    finally:
        run.out.close()


def test_the_page_shows_the_number_of_threads(done: Path) -> None:
    number = read_json(done / "run.json")["threads"]
    assert number == int(os.environ["OMP_NUM_THREADS"])
    assert f", threads of each process: {number}<" in (done / "report.html").read_text(encoding="utf-8")


def test_masks_have_the_names_and_sizes_of_the_training_images(done: Path, folder_data: Path) -> None:
    train = open_data(f"folder:{folder_data}").train
    assert sorted(path.stem for path in (done / "masks").glob("*.png")) == sorted(train.names)
    for index, name in enumerate(train.names):
        assert load_mask(done / "masks" / f"{name}.png").shape == train[index].image.shape[:2]


def test_the_same_command_again_makes_nothing_again(done: Path, folder_data: Path) -> None:
    before = files(done)
    assert "thresholds" in json.loads((done / "run.json").read_text())
    deft.run(tiny(irn_deft()), f"folder:{folder_data}", done, name="irn_deft")
    after = files(done)
    changed = {name for name in before if before[name] != after[name]}
    # Digests of photographs that were new to the first run are kept by the second.
    assert changed <= {"report.html", "lock", "contents.json"}
    assert before.keys() == after.keys()


def test_other_settings_are_refused(done: Path, folder_data: Path) -> None:
    with pytest.raises(InputError, match=r"settings\.classifier\.head\.maps: 256 in the folder, 8 now"):
        deft.run(tiny(irn_deft(), "classifier.head.maps=8"), f"folder:{folder_data}", done, name="irn_deft")


def test_stages_of_equal_settings_are_taken_over(done: Path, folder_data: Path, tmp_path: Path) -> None:
    other = tiny(irn_deft(), "seed_threshold=0.2")
    deft.run(other, f"folder:{folder_data}", tmp_path / "b", reuse=[done], name="irn_deft")
    for stage in ("classifier", "seeds", "refine"):
        assert (tmp_path / "b" / stage / "stage.json").read_text() == (done / stage / "stage.json").read_text()


def test_another_reading_takes_over_the_classifier_and_reads_other_seeds(
    done: Path, folder_data: Path, tmp_path: Path
) -> None:
    other = replace(tiny(irn_deft(), "classifier.head.map=ObjectMap"), refine=None)
    deft.run(other, f"folder:{folder_data}", tmp_path / "b", reuse=[done], name="irn_deft")
    both = done, tmp_path / "b"
    trained, again = (read_json(folder / "classifier" / "stage.json") for folder in both)
    assert trained == again
    seeds, others = (load_seeds(next((folder / "seeds" / "train").glob("*.npz"))).maps for folder in both)
    assert not torch.equal(seeds, others)


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
    alone: list[str] = []
    seen: list[str] = []
    agreed, scoring, shared = ranks.agreed, runner.evaluate, make.masking

    def meeting(flag: bool) -> bool:
        assert not alone, alone
        seen.append("meeting")
        return agreed(flag)

    def by_itself(what: str, task: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*given: Any) -> Any:
            alone.append(what)
            seen.append(what)
            try:
                return task(*given)
            finally:
                alone.pop()

        return inner

    def masking(run: Any, stage: Any) -> Any:
        share = shared(run, stage)
        return replace(share, work=by_itself("one mask", share.work))

    monkeypatch.setattr(ranks, "agreed", meeting)
    monkeypatch.setattr(runner, "evaluate", by_itself("scoring", scoring))
    monkeypatch.setattr(make, "masking", masking)
    deft.run(tiny(cam(), "segment=none", steps=2), f"folder:{folder_data}", tmp_path / "run")
    assert (seen.count("one mask"), seen.count("scoring")) == (8, 1)
    assert seen.index("meeting") < seen.index("one mask") < seen.index("scoring")


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


def test_classes_and_remarks_are_told_before_anything_is_made(
    own_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / "labels.csv").write_text(
        "file_name;tags\nimg_00;cat\nimg_01;cow\nimg_02;dog\nimg_03;cat|cow\nimg_04;dog\nimg_05;cat\n"
    )
    with pytest.raises(InputError, match=r"expected the folder of a run, found no run\.json in it"):
        deft.run(tiny(cam()), f"folder:{own_folder}", tmp_path / "run", reuse=[tmp_path / "nope"])
    assert not (tmp_path / "run").exists() and capsys.readouterr().err == ""
    without_weights = replace(tiny(cam()), weights=str(tmp_path / "none"))
    with pytest.raises(InputError, match="none"):
        deft.run(without_weights, f"folder:{own_folder}", tmp_path / "run")
    told = capsys.readouterr().err
    assert told.startswith("3 classes, 4 training images, 2 held out\n  cat  2 images, 1 held out: img_00, img_03\n")
    assert "columns are read as separated by ';'" in told and "labels are read as separated by '|'" in told
    assert f"folder:{own_folder}: warning: class 'dog' is on a single training image" in told


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 150e6 + 12 * 60e3),
        ({"backbone": "resnet50"}, 400e6 + 12 * 60e3),
        ({"classifier": cda().classifier}, 2 * (150e6 + 12 * 60e3)),
        ({"classifier": None}, 150e6 + 12 * 60e3),
    ],
)
def test_the_guess_of_bytes_grows_with_images_network_and_rounds(
    change: dict[str, Any], expected: float, folder_data: Path, tmp_path: Path
) -> None:
    splits = open_data(f"folder:{folder_data}")
    pipeline = replace(tiny(cam()), **change)
    assert needed_bytes(splits, pipeline, tmp_path / "run") == expected
    for name, size in (("classifier/model.safetensors", 1000), ("features/one.safetensors", 500), ("a/run.json", 0)):
        (tmp_path / "run" / name).parent.mkdir(parents=True)
        (tmp_path / "run" / name).write_bytes(bytes(size))
    assert needed_bytes(splits, pipeline, tmp_path / "run") == expected  # the folder holds no run
    (tmp_path / "run" / "run.json").touch()
    assert needed_bytes(splits, pipeline, tmp_path / "run") == expected - 1000


def test_the_precision_is_that_of_the_run_that_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "choose", lambda device: "bf16-mixed")
    assert resolved(cam()).precision == resolved(cam(), tmp_path).precision == "bf16-mixed"
    write_json(tmp_path / "run.json", {"settings": {"precision": "32-true"}})
    assert resolved(cam(), tmp_path).precision == "32-true"
    assert resolved(replace(cam(), precision="16-mixed"), tmp_path).precision == "16-mixed"


def test_the_number_of_threads_is_that_of_the_run_that_was_begun(
    folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "measured", lambda: (1.0, 8))
    used: list[int] = []
    monkeypatch.setattr(runner, "make_all", lambda work: used.append(torch.get_num_threads()))
    monkeypatch.setattr(runner, "evaluate", lambda work: None)

    def begin(*settings: str) -> None:
        with runner.working(tiny(cam(), *settings), f"folder:{folder_data}", tmp_path) as work:
            (work.out.path / "masks").mkdir(exist_ok=True)
            (work.out.path / "masks" / "a.png").write_bytes(b"begun")

    before = torch.get_num_threads()
    begin("threads=2")
    assert read_json(tmp_path / "run.json")["threads"] == 2
    assert "threads" not in read_json(tmp_path / "run.json")["settings"]
    begin()
    begin("threads=3")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    begin()
    assert used == [2, 2, 3, 4]
    assert torch.get_num_threads() == before
    assert read_json(tmp_path / "run.json")["threads"] == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(tuple("234"))]
    assert [line.partition(": ")[2] for line in said if "thread" in line] == [
        *("as set", "as the run was begun", "as set", "as OMP_NUM_THREADS says")
    ]


def test_the_memory_of_a_run_is_kept_and_no_part_of_its_settings(
    folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[object] = []
    monkeypatch.setattr(runner, "make_all", lambda work: used.append(work.pipeline.memory))
    monkeypatch.setattr(runner, "evaluate", lambda work: None)

    def begin(*settings: str) -> None:
        with runner.working(tiny(cam(), *settings), f"folder:{folder_data}", tmp_path) as work:
            (work.out.path / "masks").mkdir(exist_ok=True)
            (work.out.path / "masks" / "a.png").write_bytes(b"begun")

    begin("memory=3")
    begin()
    begin("memory=2.5")
    begin("memory=auto")
    assert used == [3, 3, 2.5, 3]
    record = read_json(tmp_path / "run.json")
    assert record["memory"] == 3 and "memory" not in record["settings"]


@pytest.mark.parametrize("record", [{"threads": "many"}, {"threads": None}, {}, []])
def test_a_record_without_a_number_of_threads_leaves_the_choice(record: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", record)
    assert threads.choose(begun=runner._recorded(tmp_path).get("threads")) == threads.choose()


def test_the_record_holds_what_a_second_run_has_to_agree_with(folder_data: Path) -> None:
    given, pipeline = f"folder:{folder_data}", tiny(cam())
    splits = open_data(given)
    record = description(pipeline, given, splits, "cam")
    assert (record["recipe"], record["given"]) == ("cam", {"weights": "none"})
    assert restore({**record["settings"], "weights": "none"}) == pipeline
    assert splits.val is not None
    assert record["data"] == {
        "given": given,
        "images": 8,
        "held out": 4,
        "classes": ["cat", "cow", "dog"],
        "fingerprint": splits.train.fingerprint(),
        "fingerprint of held out": splits.val.fingerprint(),
    }
    assert record["versions"].keys() >= {"python", "torch", "timm", "lightning-fabric", "numpy"}
    alone = description(pipeline, splits, Splits(splits.train, None), "")["data"]
    assert (alone["given"], alone["held out"], alone["fingerprint of held out"]) == ("", 0, "")


def large_photographs(root: Path, sizes: list[tuple[int, int]]) -> Path:
    """A ``folder:`` of photographs with a coloured rectangle and its mask; the maps of the masks in ``maps/``."""
    for part in ("images", "masks", "maps"):
        (root / part).mkdir(parents=True)
    rows = ["image,labels"]
    for index, (height, width) in enumerate(sizes):
        rng = np.random.default_rng(index)
        pixels = np.full((height, width, 3), 90, dtype=np.uint8) + rng.integers(0, 30, (height, width, 1), np.uint8)
        mask = np.zeros((height, width), dtype=np.uint8)
        inside = slice(height // 5, height // 2 + 1), slice(width // 3, 3 * width // 4 + 1)
        pixels[inside], mask[inside] = ((220, 30, 30), (30, 60, 220))[index % 2], index % 2 + 1
        name = f"{index}.{('jpg', 'png', 'webp', 'tif')[index % 4]}"
        Image.fromarray(pixels).save(root / "images" / name)
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
        (root / "maps" / str(index)).mkdir()
        shown = ("red", "blue")[index % 2]
        Image.fromarray((mask > 0).astype(np.uint8) * 255).save(root / "maps" / str(index) / f"{shown}.png")
        rows.append(f"{index},{shown}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "classes.txt").write_text("red\nblue\n", encoding="utf-8")
    return root


def test_objects_are_where_they_are_in_large_photographs(tmp_path: Path) -> None:
    root = large_photographs(tmp_path / "data", [(2000, 3000), (600, 400), (100, 90), (900, 40), (1, 700)])
    settings = (f"seeds.folder={root / 'maps'}", "refine=none", "segment=none", "max_side=256", "seed_threshold=0.5")
    deft.run(tiny(external(), *settings), f"folder:{root}", tmp_path / "run")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["train"]["masks"]["used"]["miou"] > 0.9
    for index, equal in enumerate((0.99, 0.99, 0.97, 0.88)):  # the last is read with 11 pixels for 40
        truth = np.array(Image.open(root / "masks" / f"{index}.png"))
        mask = load_mask(tmp_path / "run" / "masks" / f"{index}.png")
        assert mask.shape == truth.shape
        assert (mask == truth).mean() > equal
    seeds = load_seeds(tmp_path / "run" / "seeds" / "train" / "0.npz")
    assert seeds.size == (171, 256) and seeds.photograph == (2000, 3000)
    assert load_seeds(tmp_path / "run" / "seeds" / "train" / "2.npz").photograph is None


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run at a small side, and its data."""
    root = tmp_path_factory.mktemp("large")
    data = large_photographs(root / "data", [(300, 200), (150, 220), (60, 64), (64, 400), (180, 180), (200, 90)])
    deft.run(tiny(irn_deft(), "max_side=64"), f"folder:{data}", root / "run", name="irn_deft")
    return root / "run", data


def test_every_stage_works_at_the_side_and_masks_are_as_large_as_the_photographs(large: tuple[Path, Path]) -> None:
    out, data = large
    splits = open_data(f"folder:{data}")
    sizes = {name: splits.train[index].image.shape[:2] for index, name in enumerate(splits.train.names)}
    for name, size in sizes.items():
        for stage in ("seeds/train", "refined"):
            maps = load_seeds(out / stage / f"{name}.npz")
            assert max(maps.size) == 64 and maps.full_size == size
        assert load_mask(out / "masks" / f"{name}.png").shape == size
        assert load_mask(out / "predictions" / "train" / f"{name}.png").shape == size
        assert max(load_mask(out / "refine" / "labels" / f"{name}.png").shape) == 64
    scores = json.loads((out / "scores.json").read_text())
    assert scores["train"]["masks"]["used"]["miou"] == pytest.approx(stored_miou(out / "masks", splits.train))
    assert read_json(out / "run.json")["data"]["max_side"] == 64
    photograph = splits.train[0].image
    predictor = deft.load(out)
    assert predictor.max_side == 64
    assert predictor.predict(photograph).mask.shape == photograph.shape[:2]
    whole = deft.load(out, max_side=None).predict(photograph)
    assert whole.mask.shape == photograph.shape[:2]
    found = deft.load_locator(out).locate(photograph, tags=["red"])
    assert found.size == (64, 43) and found.photograph == photograph.shape[:2]


@pytest.mark.parametrize(("side", "said"), [("48", "48 now"), ("none", "None now"), ("1024", "None now")])
def test_another_side_is_other_settings_where_it_scales_a_photograph(
    large: tuple[Path, Path], side: str, said: str
) -> None:
    out, data = large
    before = files(out)
    with pytest.raises(InputError, match=f"other settings(.|\\n)*data.max_side: 64 in the folder, {said}"):
        deft.run(tiny(irn_deft(), f"max_side={side}"), f"folder:{data}", out, name="irn_deft")
    after = files(out)
    assert {name: after[name] for name in after if name != "lock"} == {
        name: before[name] for name in before if name != "lock"
    }


@pytest.mark.parametrize("side", ["64", "300", "none"])
def test_a_side_that_scales_nothing_changes_nothing(done: Path, folder_data: Path, side: str) -> None:
    before = {name: content for name, content in files(done).items() if name.endswith((".npz", ".png", ".safetensors"))}
    deft.run(tiny(irn_deft(), f"max_side={side}"), f"folder:{folder_data}", done, name="irn_deft")
    after = files(done)
    assert all(after[name] == content for name, content in before.items())
    assert "max_side" not in read_json(done / "run.json")["data"]


def test_a_run_of_a_version_without_a_side_is_gone_on_with(done: Path, folder_data: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(done, old)
    record = read_json(old / "run.json")
    del record["settings"]["max_side"]
    write_json(old / "run.json", record)
    (old / "made.json").unlink()
    run = reopen(old)
    try:
        assert run.pipeline.max_side is None
    finally:
        run.out.close()
    assert deft.load(old).max_side is None
    before = files(old)
    deft.run(tiny(irn_deft()), f"folder:{folder_data}", old, name="irn_deft")
    masks = [name for name in before if name.endswith((".npz", ".png", ".safetensors"))]
    assert masks and all(files(old)[name] == before[name] for name in masks)


@pytest.mark.parametrize("content", ["[]", "{}", "", "no JSON", '{"recipe": 1, "settings": {}, "data": {}}'])
def test_the_folder_of_another_tool_is_not_reused(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run.json: expected "):
        check_reuse([tmp_path])
