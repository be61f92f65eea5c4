"""YOLO's text files and semantic masks: written, judged by ultralytics, and read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from deft.cli.main import main
from export_runs import CLASSES, assert_same, contents, exported, imported, own_masks


@pytest.mark.parametrize(("options", "share"), [((), 0.005), (("--tolerance", "0"), 0), (("--tolerance", "9"), 0.005)])
def test_polygons_out_and_in(options: tuple[str, ...], share: float, run: Path) -> None:
    assert_same(imported(run, exported(run, "yolo", *options), "yolo"), own_masks(run), share)


def test_semantic_masks_out_and_in(run: Path) -> None:
    out = exported(run, "yolo-semantic")
    assert_same(imported(run, out, "yolo-semantic"), own_masks(run))
    with Image.open(out / "masks" / "train" / "sub" / "b c.png") as image:
        assert image.mode == "L"  # with a palette, readers that ask for grey get its colours
        assert (np.array(image) == own_masks(run)["sub/b c"]).all()


def test_the_yaml_file_names_what_ultralytics_needs(run: Path) -> None:
    read = [yaml.safe_load((exported(run, form) / "data.yaml").read_text()) for form in ("yolo", "yolo-semantic")]
    assert read[0] == {"train": "images/train", "val": "images/train", "names": dict(enumerate(CLASSES))}
    assert read[1]["masks_dir"] == "masks"
    assert read[1]["names"] == dict(enumerate(("background", *CLASSES)))


def test_lines_by_hand(run: Path) -> None:
    text = (exported(run, "yolo", "--tolerance", "0", "--only", "a") / "labels" / "train" / "a.txt").read_text()
    lines = [line.split() for line in text.splitlines()]
    assert ["1", "0.1666667", "0.225", "0.2166667", "0.225", "0.2166667", "0.275", "0.1666667", "0.275"] in lines
    assert {line[0] for line in lines} == {"0", "1", "2"}
    assert all(len(line) >= 9 and len(line) % 2 for line in lines)
    assert all(0 <= float(share) <= 1 for line in lines for share in line[1:])


def test_classes_in_another_order_are_read_by_name(run: Path) -> None:
    out = exported(run, "yolo", "--tolerance", "0")
    content = yaml.safe_load((out / "data.yaml").read_text())
    content["names"] = ["cat", "dog", "tooth brush"]
    (out / "data.yaml").write_text(yaml.safe_dump(content))
    swapped = np.arange(256)
    swapped[[2, 3]] = 3, 2
    expected = {name: swapped[mask].astype(np.uint8) for name, mask in own_masks(run).items()}
    assert_same(imported(run, out, "yolo"), expected)


def test_an_image_whose_file_is_empty_shows_nothing(run: Path) -> None:
    out = exported(run, "yolo")
    (out / "labels" / "train" / "a.txt").write_text("")
    found = imported(run, out, "yolo")["a"]
    own = own_masks(run)["a"]
    assert (found == np.where(own == 255, 255, 0)).all()  # areas to ignore, which the format does not have, stay


@pytest.mark.parametrize(
    ("form", "name", "content", "said"),
    [
        ("yolo", "labels/train/a.txt", b"0 0.5 0.5 0.2 0.2\n", "an object of 'cat' has no outline"),
        ("yolo", "labels/train/a.txt", b"9 0.5 0.5 0.2 0.2 0.7 0.1\n", "a.txt:1: expected a class from 0 to 2"),
        ("yolo", "labels/train/a.txt", b"0 5 5 20 20 7 1\n", "a.txt:1: expected coordinates from 0 to 1"),
        ("yolo", "data.yaml", b"names: [cat, tooth brush, unicorn]\n", "'unicorn', in "),
        ("yolo", "data.yaml", b"names: [\n", "data.yaml"),
        ("yolo-semantic", "data.yaml", b"names: [background, cat]\n", "the value 3 has no name in data.yaml"),
        ("yolo-semantic", "masks/train/a.png", b"", "a.png"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_imported(
    form: str, name: str, content: bytes, said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = exported(run, form)
    (out / name).write_bytes(content)
    before = contents(run)
    assert main(["import", str(run), str(out), "--format", form]) == 2
    assert said in (told := capsys.readouterr().err)
    assert "Traceback" not in told
    assert contents(run) == before


def test_neither_holds_what_the_other_is_for(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form, shapes in (("yolo", "masks"), ("yolo-semantic", "polygons")):
        words = ["export", str(run), "--format", form, "--out", str(tmp_path / "out"), "--shapes", shapes]
        assert main(words) == 2
        assert f"--shapes {shapes}" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_ultralytics_reads_both(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", os.environ.get("YOLO_CONFIG_DIR", str(tmp_path)))
    datasets = pytest.importorskip("ultralytics.data.dataset")
    described = pytest.importorskip("ultralytics.data.utils").check_det_dataset
    own = own_masks(run)
    out = exported(run, "yolo-semantic")
    data = described(str(out / "data.yaml"), autodownload=False)
    semantic = datasets.SemanticDataset(img_path=data["train"], data=data, augment=False, imgsz=64)
    found = {
        Path(each["im_file"]).relative_to(out / "images" / "train").with_suffix("").as_posix(): semantic.load_mask(
            index
        )
        for index, each in enumerate(semantic.labels)
    }
    assert_same(found, own)
    out = exported(run, "yolo", "--tolerance", "0")
    data = described(str(out / "data.yaml"), autodownload=False)
    polygons = datasets.YOLODataset(img_path=data["train"], data=data, task="segment", augment=False, imgsz=64)
    assert len(polygons.labels) == len(own)
    for each in polygons.labels:
        name = Path(each["im_file"]).relative_to(out / "images" / "train").with_suffix("").as_posix()
        assert each["shape"] == own[name].shape
        lines = (out / "labels" / "train" / f"{name}.txt").read_text().splitlines()
        assert len(each["segments"]) == len(lines)
        assert {int(value) + 1 for value in each["cls"].ravel()} == set(np.unique(own[name])) - {0, 255}
    shutil.rmtree(out)
