"""What a run folder accepts as the same data, what it refuses, and what it makes again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deft.artifacts import RunFolder, read_json, write_json
from deft.contracts import InputError, Sample, SeedMaps
from deft.data import open_data
from deft.engine.method import MethodContext
from deft.evaluate.page import write_report
from deft.pipeline import Pipeline
from deft.runner.images import Images, told
from deft.runner.run import description, working
from deft.runner.verify import verify
from deft.segment.inference import Inference
from deft.stages.context import Run

ASKED: list[str] = []
"""Names of the images whose seeds were drawn."""


@dataclass(frozen=True)
class Ramp:
    """Seeds that rise from left to right, from images alone."""

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        def draw(sample: Sample) -> SeedMaps:
            assert sample.mask is None
            ASKED.append(sample.name)
            classes = tuple(int(k) for k in np.flatnonzero(sample.labels))
            height, width = (side // 4 for side in sample.image.shape[:2])
            return SeedMaps(classes, torch.linspace(0, 1, width).expand(len(classes), height, width).clone(), (64, 64))

        return draw


PIPELINE = Pipeline(
    classifier=None,
    seeds=Ramp(),
    seed_threshold=0.3,
    refine=None,
    segment=None,
    inference=Inference(scales=(1.0,), flip=False),
    backbone="test_resnet",
    weights="none",
    precision="32-true",
)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    ASKED.clear()
    monkeypatch.setattr("deft.runner.run.packages_distributions", dict)  # it takes seconds, for the package of Ramp


@pytest.fixture
def photos(make_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """Six images to train on, img_00 to img_03, two of which are held out: img_04 and img_05."""
    return make_folder(tmp_path / "photos", count=6, side=64)


def run(photos: Path | str, out: Path) -> list[str]:
    """Names of the images whose seeds were made."""
    ASKED.clear()
    with working(PIPELINE, f"folder:{photos}", out):
        return sorted(ASKED)


def keys(out: Path) -> dict[str, str]:
    return {path.parent.relative_to(out).as_posix(): read_json(path)["key"] for path in out.glob("**/stage.json")}


TRAIN, HELD_OUT = [f"img_0{index}" for index in range(4)], ["img_04", "img_05"]


def test_where_images_lie_and_when_they_were_written_does_not_matter(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert run(photos, out) == TRAIN + HELD_OUT
    before, scores = keys(out), (out / "scores.json").read_bytes()
    for path in photos.rglob("*.*"):
        os.utime(path, ns=(10**18, 10**18))
    copied = Path(shutil.copytree(photos, tmp_path / "copied", copy_function=shutil.copyfile))
    linked = tmp_path / "linked"
    linked.symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    for spelling in (photos, f"{photos}/", "photos", "./photos/", "copied/../photos", linked, copied):
        assert run(spelling, out) == [], spelling
        assert read_json(out / "run.json")["data"]["given"] == f"folder:{spelling}"  # where it lies now
    assert keys(out) == before and (out / "scores.json").read_bytes() == scores
    shutil.rmtree(photos)
    linked.unlink()
    assert run(copied, out) == []
    assert verify(out).wrong == ()


def flip_a_bit(path: Path) -> None:
    """Change one bit; size and time of modification stay."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def tag(root: Path, before: str, after: str) -> None:
    table = root / "labels.csv"
    assert before in table.read_text()
    table.write_text(table.read_text().replace(before, after))


def add(root: Path) -> None:
    shutil.copy(root / "images" / "img_00.png", root / "images" / "new.png")
    tag(root, "img_00,cat\n", "img_00,cat\nnew,cat\n")


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one bit": (lambda root: flip_a_bit(root / "images" / "img_01.png"), "1 image changed (img_01)"),
    "swapped": (
        lambda root: swap(root / "images" / "img_00.png", root / "images" / "img_02.png"),
        "2 images changed (img_00, img_02)",
    ),
    "tag": (lambda root: tag(root, "img_01,cow", "img_01,dog"), "1 image has other tags (img_01)"),
    "new": (add, "1 image is new (new)"),
    "held out": (lambda root: (root / "val.txt").write_text("img_03\nimg_04\nimg_05\n"), "1 image is missing (img_03)"),
    "class": (
        lambda root: ((root / "classes.txt").write_text("cat\ncow\nhen\n"), tag(root, "dog", "hen")),
        "classes are cat, cow, hen instead of cat, cow, dog",
    ),
}


@pytest.mark.parametrize("change", OTHERS)
def test_other_images_are_refused_and_named(change: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, out)
    before = keys(out)
    act, words = OTHERS[change]
    act(photos)
    with pytest.raises(InputError) as caught:
        run(photos, out)
    lines = str(caught.value).splitlines()
    assert f"  images to learn from: {words}" in lines
    assert lines[0] == f"--out {out} holds a run with other settings:" and "fingerprint" not in str(caught.value)
    assert keys(out) == before and ASKED == []
    assert run(photos, tmp_path / "other") != []


def test_a_held_out_image_changes_only_what_is_made_of_it(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    run(photos, out)
    before, scores = keys(out), read_json(out / "scores.json")
    flip_a_bit(photos / "images" / "img_05.png")
    assert run(photos, out) == HELD_OUT
    assert "held-out images: 1 image changed (img_05); what was made of them is made again" in capsys.readouterr().err
    after = keys(out)
    assert {name for name in before if before[name] != after[name]} == {"seeds/val"}
    assert read_json(out / "scores.json")["made_of"] != scores["made_of"]
    assert run(photos, out) == [] and "held-out images" not in capsys.readouterr().err
    (photos / "val.txt").write_text("img_05\n")
    tag(photos, "img_04,cow;dog\n", "")
    (photos / "images" / "img_04.png").unlink()
    (photos / "masks" / "img_04.png").unlink()
    assert run(photos, out) == ["img_05"]
    assert read_json(out / "run.json")["data"]["held out"] == 1
    assert verify(out).wrong == ()


MASKS: dict[str, Callable[[Path], object]] = {
    "changed": lambda path: Image.fromarray(np.full((64, 64), 1, np.uint8)).save(path),
    "the same values in another file": lambda path: Image.open(path).convert("P").save(path, compress_level=1),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", MASKS)
@pytest.mark.parametrize("name", ["img_01", "img_04"])
def test_a_mask_changes_only_scores(name: str, change: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, out)
    before, scores = keys(out), read_json(out / "scores.json")
    MASKS[change](photos / "masks" / f"{name}.png")
    assert run(photos, out) == []
    after = read_json(out / "scores.json")
    assert keys(out) == before and after["truth"] != scores["truth"]
    part = "train" if name == "img_01" else "val"
    assert (after[part]["seeds"]["curve"] == scores[part]["seeds"]["curve"]) == (change.startswith("the same"))


def test_a_mask_that_turns_out_bad_is_left_out_of_the_scores(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    good = {name: (photos / "masks" / f"{name}.png").read_bytes() for name in ("img_01", "img_04")}
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(photos / "masks" / "img_01.png")
    (photos / "masks" / "img_04.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"img_01\.png: expected values 0 to 3 and 255, got 9"):
        run(photos, out)
    assert not out.exists()
    monkeypatch.setattr("deft.runner.run.check", lambda *given, **more: [])  # as if it was beyond those looked at
    with working(PIPELINE, f"folder:{photos}", out) as work:
        page = write_report(work).read_text()
    scores, said = read_json(out / "scores.json"), capsys.readouterr().err
    assert scores["left out"].keys() == good.keys() and "2 images are not scored" in said and "got 9" in said
    assert scores["train"]["images"].keys() == {"img_00", "img_02", "img_03"}
    assert "2 images are not scored" in page and sorted(ASKED) == TRAIN + HELD_OUT
    for name, content in good.items():
        (photos / "masks" / f"{name}.png").write_bytes(content)
    assert run(photos, out) == []
    mended = read_json(out / "scores.json")
    assert "left out" not in mended and mended["train"]["images"].keys() == set(TRAIN)


def test_masks_of_nothing_that_can_be_scored_end_no_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (photos / "masks").iterdir():
        Image.fromarray(np.full((64, 64), 255, np.uint8)).save(path)
    with pytest.raises(InputError, match="no value but 255, which means ignore, as in all 4 masks"):
        run(photos, tmp_path / "run")
    monkeypatch.setattr("deft.runner.run.check", lambda *given, **more: [])
    run(photos, tmp_path / "run")
    scores = read_json(tmp_path / "run" / "scores.json")
    assert "train" not in scores and "seeds" not in scores["val"] and scores["coverage"]["images"] == 4


def test_records_that_are_damaged_or_gone_are_made_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, out)
    for path in photos.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    images = (out / "images.json").read_bytes()
    for content in (b"", b"{", images[: len(images) // 2], None):
        for name in ("contents.json", "images.json"):
            (out / name).unlink(missing_ok=True) if content is None else (out / name).write_bytes(content)
        (out / ".part-0123456789abcdef").write_bytes(b"{")  # of a process that was killed while it wrote
        assert run(photos, out) == []
        assert (out / "images.json").read_bytes() == images
        (out / ".part-0123456789abcdef").unlink()
        assert verify(out).wrong == ()


def test_without_its_record_a_folder_refuses_other_images_all_the_same(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, out)
    (out / "images.json").write_text("[]")
    flip_a_bit(photos / "images" / "img_01.png")
    with pytest.raises(InputError, match=r"  data\.fingerprint: '[0-9a-f]{40}' in the folder, '[0-9a-f]{40}' now"):
        run(photos, out)


def test_a_folder_of_an_earlier_version_is_told_apart(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photos, out)
    (out / "images.json").unlink()
    record = read_json(out / "run.json")
    record["data"]["fingerprint"] = "0" * 64
    write_json(out / "run.json", record)
    with pytest.raises(InputError, match="of an earlier version of deft, which knew images by the sizes and times"):
        run(photos, out)


def test_another_run_takes_over_what_was_made_of_copies(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "one")
    copied = shutil.copytree(photos, tmp_path / "copied", copy_function=shutil.copyfile)
    flip_a_bit(copied / "images" / "img_04.png")
    ASKED.clear()
    with working(PIPELINE, f"folder:{copied}", tmp_path / "two", reuse=[tmp_path / "one"]):
        assert sorted(ASKED) == HELD_OUT
    assert (tmp_path / "two" / "seeds" / "train" / "img_00.npz").samefile(
        tmp_path / "one" / "seeds" / "train" / "img_00.npz"
    )
    assert verify(tmp_path / "two").wrong == ()


def test_weights_may_have_another_name_and_lie_elsewhere(photos: Path, tmp_path: Path) -> None:
    splits = open_data(f"folder:{photos}")
    images = Images.of(splits)
    for name in ("one.pth", "two.pth"):
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "other.pth").write_bytes(b"others")

    def record(name: str) -> dict[str, Any]:
        return description(replace(PIPELINE, weights=str(tmp_path / name)), "", splits, "")

    write_json(tmp_path / "run" / "run.json", record("one.pth"))
    assert told(tmp_path / "run", record("two.pth"), PIPELINE, images)["settings.weights"] == ""
    assert "settings.weights" not in told(tmp_path / "run", record("other.pth"), PIPELINE, images)


def test_a_record_of_the_hub_alone_does_not_say_which_weights(photos: Path, tmp_path: Path) -> None:
    splits = open_data(f"folder:{photos}")
    images = Images.of(splits)
    now = description(replace(PIPELINE, weights="hub"), "", splits, "", images, "hub resnet50.a1_in1k 0123456789abcdef")
    write_json(tmp_path / "run" / "run.json", {**now, "settings": {**now["settings"], "weights": "hub"}})
    said = told(tmp_path / "run", now, PIPELINE, images)["settings.weights"]
    assert "earlier version" in said and "resnet50.a1_in1k 0123456789abcdef cannot be told" in said
    write_json(tmp_path / "run" / "run.json", now)
    assert told(tmp_path / "run", now, PIPELINE, images)["settings.weights"] == ""


def test_a_finished_run_needs_no_weights_of_the_hub(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = "hub test_resnet.r160_in1k 0123456789abcdef"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    write_json(tmp_path / "run" / "run.json", {"settings": {"weights": recorded}})
    pipeline, splits = replace(PIPELINE, weights="hub"), open_data(f"folder:{photos}")
    assert Run(pipeline, splits, RunFolder(tmp_path / "run", {}, own=False)).initial_weights == recorded
    with pytest.raises(InputError, match="not in the local cache"):
        _ = Run(pipeline, splits, RunFolder(tmp_path / "new", {}, own=False)).initial_weights
