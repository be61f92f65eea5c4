from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft.contracts import InputError
from deft.data import check, open_data
from deft.data.faults import Faults
from deft.data.layouts.yolo import read_settings, yaml_text
from userfiles import mask_of, save_noise, tags_of

pytest.importorskip("pycocotools")

YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n  2: cow\n"


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Two outlined images, one of them without objects, and one with a box to hold out."""
    root = tmp_path / "yolo"
    for name in ("train/a", "train/b", "val/c"):
        save_noise(root / "images" / f"{name}.png")
        (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "labels/train/a.txt").write_text("1 0 0 0.5 0 0.5 1 0 1\n0 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5\n")
    (root / "labels/val/c.txt").write_text("2 0.5 0.5 0.2 0.2\n\n1 0.5 0.5 0.2 0.2 0.93\n")
    (root / "data.yaml").write_text(YAML)
    return root


def faults(root: Path, warnings: bool = False) -> list[str]:
    return [str(fault) for fault in check(f"yolo:{root}") if fault.warning == warnings]


def test_boxes_are_labels_and_polygons_are_masks(yolo: Path) -> None:
    assert faults(yolo) == []
    splits = open_data(f"yolo:{yolo}")
    assert splits.val is not None
    assert splits.train.classes == splits.val.classes == ("cat", "dog", "cow")
    assert tags_of(splits.train) == {"a": ["cat", "dog"], "b": []} and tags_of(splits.val) == {"c": ["dog", "cow"]}
    assert splits.train.scored.all() and not splits.val.scored.any() and splits.val[0].mask is None
    mask = mask_of(splits.train, "a")
    assert mask.shape == (40, 60) and (mask[:, 31:] == 0).all() and (mask[21:, :29] == 2).all()
    assert (mask[5:19, 7:17] == 1).all()
    assert not mask_of(splits.train, "b").any()
    assert open_data(f"yolo:{yolo}?empty=drop").train.names == ("a",)
    assert open_data(f"yolo:{yolo / 'data.yaml'}").train.names == ("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        YAML.replace("names:\n  0: cat\n  1: dog\n  2: cow\n", "names: [cat, dog, cow]\nnc: 3\n"),
        YAML.replace("path: .", "path: /datasets/of/another/computer"),
        YAML.replace("path: .\n", "").replace("images/", "../images/"),
        YAML.replace("images/train", "/home/me/yolo/images/train").replace("images/val", "C:\\yolo\\images\\val"),
        YAML.replace("train: images/train", "train: [images/train]"),
        YAML.replace("train: images/train", "train: train.txt"),
    ],
)
def test_every_way_to_name_classes_and_folders_is_read(yolo: Path, text: str) -> None:
    expected = open_data(f"yolo:{yolo}")
    (yolo / "data.yaml").write_text(text)
    (yolo / "train.txt").write_text("./images/train/a.png\nimages/train/b.png\n")
    splits = open_data(f"yolo:{yolo}")
    assert tags_of(splits.train) == tags_of(expected.train) and splits.train.classes == expected.train.classes
    assert splits.val is not None and tags_of(splits.val) == {"c": ["dog", "cow"]}


def test_the_folders_of_roboflow_and_of_label_studio_are_found(yolo: Path, tmp_path: Path) -> None:
    robo, studio = tmp_path / "robo", tmp_path / "studio"
    for old, new in (("train", "train"), ("val", "valid")):
        (robo / new).mkdir(parents=True)
        (yolo / "images" / old).rename(robo / new / "images")
        (yolo / "labels" / old).rename(robo / new / "labels")
    (robo / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnc: 3\nnames: ['cat', 'dog', 'cow']\n"
    )
    splits = open_data(f"yolo:{robo}")
    assert splits.val is not None and tags_of(splits.val) == {"c": ["dog", "cow"]}
    assert tags_of(splits.train) == {"a": ["cat", "dog"], "b": []}
    studio.mkdir()
    (robo / "train" / "images").rename(studio / "images")
    (robo / "train" / "labels").rename(studio / "labels")
    (studio / "classes.txt").write_text("cat\ndog\ncow\n")
    data = open_data(f"yolo:{studio}")
    assert data.val is None and tags_of(data.train) == {"a": ["cat", "dog"], "b": []}


def test_lines_of_poses_are_boxes(yolo: Path) -> None:
    (yolo / "data.yaml").write_text(YAML + "kpt_shape: [2, 3]\n")
    (yolo / "labels/train/a.txt").write_text("1 0.5 0.5 0.1 0.1 0.2 0.2 2 0.3 0.3 1\n")
    train = open_data(f"yolo:{yolo}").train
    assert tags_of(train)["a"] == ["dog"] and not train.scored.any()


def label(text: str) -> Callable[[Path], object]:
    return lambda root: (root / "labels/train/a.txt").write_text(text)


def settings(text: str) -> Callable[[Path], object]:
    return lambda root: (root / "data.yaml").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (label("0 0.5 0.5 0.1 0.1\n3 0.5 0.5 0.1 0.1\n"), "a.txt:2: expected a class from 0 to 2, got '3'"),
        (label("cat 0.5 0.5 0.1 0.1\n"), "a.txt:1: expected a class from 0 to 2"),
        (label("1 0.5 0.5\n"), "a.txt:1: expected a box of 4 numbers or a polygon"),
        (label("1 0 0 1 0 1 1 0\n"), "a.txt:1: expected a box of 4 numbers or a polygon of pairs of numbers, got 7"),
        (label("1 0 0 1 nan 1 1\n"), "a.txt:1: expected numbers that are finite"),
        (label("1 0.5 0.5 0.1 inf\n"), "a.txt:1: expected numbers that are finite"),
        (label("1 0 0 120 0 120 80\n"), "a.txt:1: expected coordinates from 0 to 1"),
        (settings("train: images/train\n"), "data.yaml: expected names of the classes"),
        (settings("- 1\n"), "data.yaml: expected names of the classes"),
        (settings("names: [cat\ntrain: x\n"), "data.yaml:2: not valid YAML"),
        (settings("names: [cat, no]\ntrain: images/train\n"), "expected a number and a name of a class, got 1: False"),
        (settings("names: {a: cat}\ntrain: images/train\n"), "expected a number and a name of a class"),
        (settings("names: [cat]\ntrain: images/nowhere\n"), "'images/nowhere' is not there"),
        (settings("names: [cat]\ntrain: 'a\\0b'\n"), "is not there"),
        (settings("names: [cat]\ntrain: /\n"), "expected a folder of images as train, got '/', in which there is far"),
        (
            settings("names: [cat]\npath: /\ntrain: [images/train, .]\n"),
            "expected a folder of images as train, got '.'",
        ),
        (settings(f"names: [cat]\ntrain: {'x' * 5000}\n"), "is not there"),
        (settings("names: [cat]\n"), "expected a folder or list of images as train, None is not there"),
        (settings("names: !!python/object/apply:os.system ['true']\n"), "not valid YAML"),
        (
            lambda root: [file.unlink() for file in root.glob("*.yaml")],
            "expected data.yaml with the names of the classes",
        ),
        (lambda root: (root / "more.yaml").rename(root / "data.yml"), "found data.yaml and data.yml"),
        (lambda root: (root / "labels").rename(root / "texts"), "expected a text file for each image, found none"),
    ],
)
def test_faults_are_named_once(yolo: Path, spoil: Callable[[Path], object], words: str) -> None:
    (yolo / "more.yaml").write_text(YAML)
    spoil(yolo)
    named = faults(yolo)
    assert len(named) == 1 and words in named[0], named
    with pytest.raises(InputError):
        open_data(f"yolo:{yolo}")


def test_only_the_named_folders_are_looked_through(yolo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "elsewhere"
    (other / "images").mkdir(parents=True)
    (other / "labels").mkdir()
    shutil.copy(next((yolo / "images/train").glob("a.*")), other / "images" / "d.png")
    (other / "labels/d.txt").write_text("2 0.5 0.5 0.2 0.2\n")
    (yolo / "train.txt").write_text("images/val/c.png\n")
    (yolo / "data.yaml").write_text(f"names: [cat, dog, cow]\ntrain: [images/train, {other / 'images'}, train.txt]\n")
    walked: list[str] = []
    scan = os.scandir
    monkeypatch.setattr("deft.data.files.os.scandir", lambda folder: (walked.append(str(folder)), scan(folder))[1])
    tags = tags_of(open_data(f"yolo:{yolo}").train)
    assert {Path(name).name: found for name, found in tags.items()} == {
        "a": ["cat", "dog"],
        "b": [],
        "c": ["dog", "cow"],
        "d": ["cow"],
    }
    assert set(walked) == {str(yolo / "images/train"), str(other / "images")}


def test_aliases_in_yaml_do_not_grow(yolo: Path) -> None:
    lines = ["a0: &a0 [cat, cat]"] + [f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}, *a{k - 1}]" for k in range(1, 40)]
    (yolo / "data.yaml").write_text("\n".join([*lines, "names: [*a39]", "train: images/train"]))
    assert len(faults(yolo)) >= 1 and all(len(text) < 1000 for text in faults(yolo))


def test_a_photograph_is_outlined_upright(yolo: Path) -> None:
    save_noise(yolo / "images/train/a.png", orientation=6)
    mask = mask_of(open_data(f"yolo:{yolo}").train, "a")
    assert mask.shape == (60, 40) and (mask[31:, :19] == 2).all()
    assert np.unique(mask).tolist() == [0, 1, 2]


def test_the_folder_of_semantic_masks_is_read_and_yaml_written(tmp_path: Path) -> None:
    content = {"train": "images/train", "masks_dir": "masks", "names": {0: "background", 1: "Öchsle: no"}}
    (tmp_path / "data.yaml").write_bytes(yaml_text(content))
    found = read_settings(tmp_path, Faults())
    assert found is not None
    assert (found.masks, found.names) == ("masks", {0: "background", 1: "Öchsle: no"})
    (tmp_path / "data.yaml").write_text("names: [cat]\nmasks_dir: 3\n")
    found = read_settings(tmp_path, Faults())
    assert found is not None and found.masks == ""
