from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deft.contracts import Dataset, HidesTruth, InputError
from deft.data import check, open_data
from deft.data.layouts.coco import Instance, draw
from fakes import uninstall
from userfiles import polygon, run_lengths, write_coco


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def change(root: Path, act: Callable[[Any], None], part: str = "train") -> Path:
    file = root / "annotations" / f"instances_{part}2014.json"
    content = json.loads(file.read_text())
    act(content)
    file.write_text(json.dumps(content))
    return file


def messages(spec: str, warnings: bool = False) -> list[str]:
    return [str(fault) for fault in check(spec) if fault.warning == warnings]


def test_classes_labels_and_names_are_read(coco: Path) -> None:
    splits = open_data(f"coco:{coco}")
    train, val = splits.train, splits.val
    assert val is not None and isinstance(train, Dataset)
    assert train.classes == val.classes == ("person", "stop sign", "tooth brush")  # by category id
    assert train.names[0] == "COCO_train2014_000000000001" and len(set(train.names)) == len(train) == 4
    assert train.labels.astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert val.labels.astype(int).tolist() == [[0, 1, 0], [0, 0, 0]]  # a crowd is no label
    assert train.scored.all() and train.contexts == () and train.context_labels is None and not train.groups


def test_masks_are_the_outlines(coco: Path) -> None:
    train = open_data(f"coco:{coco}").train
    expected = [np.zeros((48, 64), np.uint8) for _ in range(4)]
    expected[0][4:40, 4:40] = 1
    expected[1][4:40, 4:40] = 1
    expected[1][10:18, 10:20] = 2  # listed first and smaller: it is seen
    expected[2][:, 30:] = 255
    expected[2][10:18, 10:20] = 3
    for index, truth in enumerate(expected):
        sample = train[index]
        assert sample.mask is not None and sample.image.shape == (48, 64, 3)
        np.testing.assert_array_equal(sample.mask, truth)
        assert set(np.unique(sample.mask)) - {0, 255} <= {k + 1 for k in np.flatnonzero(sample.labels)}


def test_an_object_is_seen_before_a_crowd_and_a_point_encloses_nothing() -> None:
    size = (20, 20)
    crowd, thing = Instance(255, run_lengths((0, 0, 20, 4), size)), Instance(1, polygon((0, 0, 20, 20)))
    mask = draw([thing, crowd], size)
    assert (mask == 1).all()
    assert not draw([Instance(1, [[3, 3, 9, 9]]), Instance(1, [])], size).any()


def test_labels_need_no_image(coco: Path) -> None:
    for file in (coco / "train2014").iterdir():
        file.write_bytes(b"no image")
    train = open_data(f"coco:{coco}").train
    assert train.labels.sum() == 4
    with pytest.raises(InputError, match=r"train2014_000000000001.jpg"):
        train[0]
    assert len(messages(f"coco:{coco}")) == 4


def test_images_without_an_object_are_counted_or_dropped(coco: Path) -> None:
    assert any("1 of 4 images show no object" in text for text in messages(f"coco:{coco}", warnings=True))
    splits = open_data(f"coco:{coco}?empty=drop")
    assert splits.val is not None
    assert (len(splits.train), len(splits.val)) == (3, 1)
    assert splits.train.labels.any(axis=1).all()


def test_2017_is_found_and_can_be_asked_for(coco: Path, tmp_path: Path) -> None:
    assert len(open_data(f"coco:{write_coco(tmp_path / 'other', '2017')}").train) == 4
    write_coco(tmp_path / "second", "2017")
    shutil.copytree(tmp_path / "second", coco, dirs_exist_ok=True)
    assert "train2014" in open_data(f"coco:{coco}").train.names[0]
    assert "train2017" in open_data(f"coco:{coco}?empty=drop,year=2017").train.names[0]


@pytest.mark.parametrize("options", ["empty", "empty=no", "full=1"])
def test_unknown_options_are_refused(coco: Path, options: str) -> None:
    with pytest.raises(InputError, match="expected empty=keep, empty=drop"):
        open_data(f"coco:{coco}?{options}")


def test_the_fingerprint_follows_labels_and_files(coco: Path, tmp_path: Path) -> None:
    first = open_data(f"coco:{coco}").train.fingerprint()
    assert open_data(f"coco:{coco}").train.fingerprint() == first
    moved = shutil.copytree(coco, tmp_path / "moved")
    assert open_data(f"coco:{moved}").train.fingerprint() == first
    dropped = open_data(f"coco:{coco}?empty=drop").train.fingerprint()
    os.utime(next((coco / "train2014").iterdir()), ns=(1, 1))
    touched = open_data(f"coco:{coco}").train.fingerprint()
    change(coco, lambda content: content["annotations"].pop())
    assert len({first, dropped, touched, open_data(f"coco:{coco}").train.fingerprint()}) == 4


def test_nothing_is_written(coco: Path, tree_state: Callable[[Path], str]) -> None:
    before = tree_state(coco)
    check(f"coco:{coco}")
    assert open_data(f"coco:{coco}").train[0].mask is not None
    assert tree_state(coco) == before


def drop_file(root: Path) -> None:
    next(iter(sorted((root / "train2014").iterdir()))).unlink()


def other_categories(root: Path) -> None:
    change(root, lambda content: content["categories"].append({"id": 99, "name": "x"}), "val")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            drop_file,
            "1 of the 4 images of instances_train2014.json are missing, e.g. 'COCO_train2014_000000000001.jpg'",
        ),
        (other_categories, "its categories differ from those of train"),
        (lambda root: shutil.rmtree(root / "train2014"), "expected the annotations and images of COCO"),
        (lambda root: shutil.rmtree(root / "annotations"), "instances_train2014.json: expected the annotations"),
        (lambda root: change(root, lambda content: content.pop("images")), "expected annotations"),
        (lambda root: change(root, lambda content: content["annotations"][0].update(category_id=7)), "KeyError: 7"),
        (lambda root: change(root, lambda content: content["annotations"][0].update(segmentation=0)), "no outline"),
        (lambda root: change(root, lambda content: content["images"].append(content["images"][0])), "two images"),
        (lambda root: change(root, lambda content: content.clear()).write_text("[]"), "expected annotations"),
        (lambda root: change(root, lambda content: content.clear()).write_text("{\n,"), "json:2: not valid JSON"),
    ],
)
def test_faults_are_named(coco: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(coco)
    assert any(words in text for text in messages(f"coco:{coco}")), messages(f"coco:{coco}")
    with pytest.raises(InputError, match=r"coco|train2014|instances"):
        open_data(f"coco:{coco}")


def test_images_of_another_size_are_refused(coco: Path) -> None:
    name = next(iter(sorted((coco / "train2014").iterdir())))
    Image.new("RGB", (32, 24)).save(name)
    with pytest.raises(InputError, match="expected 64 x 48 pixels as in the annotations, got 32 x 24"):
        open_data(f"coco:{coco}").train[0]


def test_an_exif_rotation_is_not_applied(coco: Path) -> None:
    name = next(iter(sorted((coco / "train2014").iterdir())))
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(name) as image:
        image.save(name, exif=exif)
    assert open_data(f"coco:{coco}").train[0].image.shape == (48, 64, 3)


def test_without_pycocotools_the_extra_is_named(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall("pycocotools", monkeypatch)
    with pytest.raises(InputError, match=r"pip install 'deft-wsss\[coco\]'"):
        open_data(f"coco:{coco}")


def test_masks_need_not_be_drawn(coco: Path) -> None:
    data = open_data(f"coco:{coco}").train
    assert isinstance(data, HidesTruth)
    bare = data.without_truth()
    assert data[0].mask is not None and bare[0].mask is None
    np.testing.assert_array_equal(bare[0].image, data[0].image)
    assert bare.fingerprint() == data.fingerprint()
