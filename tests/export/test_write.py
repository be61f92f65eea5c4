"""``deft export``: photographs as every tool shows them, nothing written over, one message for bad input."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.artifacts import RunFolder, save_mask
from deft.artifacts.review import Review
from deft.cli.main import main
from deft.data.images import read_image
from deft.data.opening import open_data
from export_runs import CLASSES, PHOTOGRAPHS, contents, exported, own_masks
from userfiles import save_noise


def test_photographs_look_the_same_with_exif_and_without(run: Path) -> None:
    data = run.parent / "data" / "images"
    out = exported(run, "voc") / "JPEGImages"
    for name, (_, orientation) in PHOTOGRAPHS.items():
        if name.startswith("held"):
            continue
        found = (out / name).read_bytes()
        if orientation == 1:
            assert found == (data / name).read_bytes()
        stored, upright = read_image(found, upright=False), read_image(found)
        assert (stored == upright).all()
        assert np.abs(upright.astype(int) - read_image(data / name)).mean() < 4  # JPEG once more, where it was turned
        assert upright.shape[:2] == own_masks(run)[name.rpartition(".")[0]].shape


def test_photographs_can_be_left_out(run: Path) -> None:
    out = exported(run, "coco", "--no-images")
    files = {"annotations/instances_train.json", "annotations/stuff_train.json", "made.sha256"}
    assert contents(out).keys() == files


@pytest.mark.parametrize("form", ["coco", "labelstudio", "yolo", "datasets"])
def test_the_same_export_can_be_written_again(form: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(run), "--format", form, "--out", str(run.parent / "out")]
    assert main(words) == 0
    before = contents(run.parent / "out")
    assert main(words) == 0
    assert {name: text for name, text in contents(run.parent / "out").items() if name != "made.sha256"} == {
        name: text for name, text in before.items() if name != "made.sha256"
    }
    capsys.readouterr()
    assert main([*words, "--only", "a"]) == 2  # what is left of the others would be read with it
    assert "expected a new folder, or the same export again" in capsys.readouterr().err


def test_neither_run_nor_data_is_written_to(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = run.parent / "data"
    before = contents(run), contents(data)
    for out in (run, run / "masks", run / "new", data, data / "images" / "new"):
        assert main(["export", str(run), "--format", "coco", "--out", str(out)]) == 2
        assert "--out" in (said := capsys.readouterr().err)
        assert "Traceback" not in said
    mine = run.parent / "mine"
    mine.mkdir()
    (mine / "data.yaml").write_text("mine")
    assert main(["export", str(run), "--format", "yolo", "--out", str(mine)]) == 2
    assert contents(mine) == {"data.yaml": b"mine"}
    assert (contents(run), contents(data)) == before


def test_names_from_a_file_and_a_list(run: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nsub/b c\n")
    out = exported(run, "labelme", "--only", f"@{tmp_path / 'names.txt'}", "--only", "upside,a")
    assert {path.stem for path in out.rglob("*.json")} == {"a", "b c", "upside"}


def test_reviewed_masks_are_exported(run: Path) -> None:
    mask = np.full((40, 60), 3, np.uint8)
    Review(run, CLASSES).write("a", mask, "corrected")
    out = exported(run, "png", "--masks", "reviewed")
    assert {path.name for path in (out / "SegmentationClass").iterdir()} == {"a.png"}
    with Image.open(out / "SegmentationClass" / "a.png") as image:
        assert (np.array(image) == 3).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tolerance", "-1"], "--tolerance -1: expected a number of pixels from 0 to 100"),
        (["--tolerance", "nan"], "--tolerance nan"),
        (["--only", "nobody"], "--only nobody"),
        (["--only", "@missing.txt"], "missing.txt"),
        (["--state", "perhaps"], "--state perhaps"),
        (["--masks", "reviewed"], "expected reviewed masks, found none"),
    ],
)
def test_bad_input_is_one_message(words: list[str], said: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run.parent / "out"
    assert main(["export", str(run), "--format", "coco", "--out", str(out), *words]) == 2
    assert said in (told := capsys.readouterr().err)
    assert "Traceback" not in told
    assert not out.exists()


def test_a_photograph_of_another_size_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (61, 40)).save(run.parent / "data" / "images" / "a.jpg")
    assert main(["export", str(run), "--format", "voc", "--out", str(run.parent / "out")]) == 2
    assert "its mask has 60 x 40 pixels, its photograph 61 x 40" in capsys.readouterr().err


def test_an_extra_that_is_missing_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = exported(run, "labelme")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    for words in (
        ["export", str(run), "--format", "cvat", "--out", str(run.parent / "out")],
        ["import", str(run), str(out), "--format", "labelme"],
    ):
        capsys.readouterr()
        assert main(words) == 2
        assert "pip install 'deft-wsss[coco]'" in (said := capsys.readouterr().err)
        assert "Traceback" not in said
    assert main(["export", str(run), "--format", "cvat", "--out", str(run.parent / "exact"), "--tolerance", "0"]) == 0


def test_rendered_images_become_png(tmp_path: Path) -> None:
    data = open_data("demo:train=2,val=0").train
    record = {
        "recipe": "cam",
        "settings": {},
        "data": {"given": "demo:train=2,val=0", "images": 2, "held out": 0, "classes": list(data.classes)},
    }
    folder = RunFolder(tmp_path / "run", record)
    made = folder.stage("masks", "key")
    with made.making():
        for index, name in enumerate(data.names):
            mask = data[index].mask
            assert mask is not None
            save_mask(made.folder / f"{name}.png", mask, made.key)
    folder.close()
    out = exported(tmp_path / "run", "coco")
    images = json.loads((out / "annotations" / "instances_train.json").read_text())["images"]
    for index, each in enumerate(images):
        with Image.open(io.BytesIO((out / "images" / "train" / each["file_name"]).read_bytes())) as image:
            assert image.format == "PNG"
            assert (np.array(image) == data[index].image).all()


def test_a_photograph_that_the_run_has_read_as_stored_is_exported_so(tmp_path: Path) -> None:
    photograph = save_noise(tmp_path / "data" / "images" / "train" / "a.jpg", (30, 40), 6)
    outline = {"segmentation": [[0, 0, 9, 0, 9, 5, 0, 5]], "image_id": 1, "category_id": 1, "iscrowd": 0, "id": 1}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 30, "width": 40}],  # as stored; upright it is 40 x 30
        "annotations": [outline],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "data" / "annotations").mkdir()
    (tmp_path / "data" / "annotations" / "instances_train.json").write_text(json.dumps(content))
    given = f"coco:{tmp_path / 'data'}"
    record = {
        "recipe": "cam",
        "settings": {},
        "data": {"given": given, "images": 1, "held out": 0, "classes": ["cat"]},
    }
    folder = RunFolder(tmp_path / "run", record)
    made = folder.stage("masks", "key")
    mask = np.zeros((30, 40), np.uint8)
    mask[3:9, 5:30] = 1
    with made.making():
        save_mask(made.folder / "a.png", mask, made.key)
    folder.close()
    out = exported(tmp_path / "run", "labelme", "--shapes", "masks")
    found = read_image(out / "a.jpg")
    assert found.shape == (30, 40, 3)
    assert np.abs(found.astype(int) - read_image(photograph, upright=False)).mean() < 4
    assert main(["import", str(tmp_path / "run"), str(out), "--format", "labelme"]) == 0
    assert (Review(tmp_path / "run", ("cat",)).mask("a") == mask).all()
