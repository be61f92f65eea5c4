"""COCO's instances and stuff: written, judged by pycocotools, and files of other programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from deft.cli.main import main
from deft.data.opening import open_data
from export_runs import CLASSES, assert_same, contents, exported, imported, own_masks


@pytest.mark.parametrize(
    ("options", "share"),
    [((), 0.005), (("--shapes", "masks"), 0), (("--tolerance", "0"), 0), (("--tolerance", "30"), 0.005)],
)
def test_out_and_in_is_the_identity_up_to_the_tolerance(options: tuple[str, ...], share: float, run: Path) -> None:
    assert_same(imported(run, exported(run, "coco", *options), "coco"), own_masks(run), share)


def painted(coco: COCO, size_of: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """Masks as pycocotools draws the annotations, crowds below."""
    found = {}
    for image in coco.loadImgs(coco.getImgIds()):
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        notes = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        for note in sorted(notes, key=lambda each: -each["iscrowd"]):
            inside = coco.annToMask(note).astype(bool)
            assert note["area"] == inside.sum()
            rows, columns = np.argwhere(inside).T
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert note["bbox"] == box
            mask[inside] = 255 if note["iscrowd"] else note["category_id"]
        found[image["file_name"].rpartition(".")[0]] = mask
        assert mask.shape == size_of[image["file_name"].rpartition(".")[0]]
    return found


@pytest.mark.parametrize("options", [("--tolerance", "0"), ("--shapes", "masks")])
def test_pycocotools_draws_the_same_instances(options: tuple[str, ...], run: Path) -> None:
    own = own_masks(run)
    out = exported(run, "coco", *options)
    coco = COCO(out / "annotations" / "instances_train.json")
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert_same(painted(coco, {name: mask.shape for name, mask in own.items()}), own)


def test_stuff_has_an_annotation_for_each_class_of_an_image(run: Path) -> None:
    own = own_masks(run)
    coco = COCO(exported(run, "coco") / "annotations" / "stuff_train.json")
    without = {name: np.where(mask == 255, 0, mask) for name, mask in own.items()}
    assert_same(painted(coco, {name: mask.shape for name, mask in own.items()}), without)
    keys = [(each["image_id"], each["category_id"]) for each in coco.loadAnns(coco.getAnnIds())]
    assert len(keys) == len(set(keys)) == sum(len(set(np.unique(mask)) - {0}) for mask in without.values())


def test_the_smallest_files_by_hand(run: Path) -> None:
    out = exported(run, "coco", "--tolerance", "0", "--only", "a")
    content = json.loads((out / "annotations" / "instances_train.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}]
    assert content["categories"][1] == {"id": 2, "name": "tooth brush", "supercategory": "tooth brush"}
    island = next(each for each in content["annotations"] if each["bbox"] == [10, 9, 3, 2])
    assert island["segmentation"] == [[10, 9, 13, 9, 13, 11, 10, 11]]
    assert (island["category_id"], island["area"], island["iscrowd"]) == (2, 6, 0)
    ring = next(each for each in content["annotations"] if each["bbox"] == [4, 3, 16, 15])
    assert ring["segmentation"]["size"] == [40, 60]
    assert ring["segmentation"]["counts"][:3] == [4 * 40 + 3, 15, 25]  # column by column, beginning with zeros


def test_both_splits_open_as_a_dataset(run: Path) -> None:
    out = exported(run, "coco", "--shapes", "masks")
    train = open_data(f"coco:{out}").train
    assert all((train[i].mask == own_masks(run)[name]).all() for i, name in enumerate(train.names))
    held = exported(run, "coco", "--masks", "predictions")
    assert {path.name for path in (held / "annotations").iterdir()} == {"instances_val.json", "stuff_val.json"}


def spoilt(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = out / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def other_ids(content: dict[str, Any]) -> None:
    for each in content["images"]:
        each["id"] = f"image {each['id']}"
    for each in content["categories"]:
        each["id"] = 1000 - each["id"]
    for each in content["annotations"]:
        each["image_id"], each["category_id"] = f"image {each['image_id']}", 1000 - each["category_id"]
        each["id"] += 7000
    for key in ("images", "categories", "annotations"):
        content[key].reverse()


def absolute(content: dict[str, Any]) -> None:
    for each in content["images"]:
        each["file_name"] = f"C:\\pictures\\{each['file_name']}".replace("/", "\\")


def more_classes(content: dict[str, Any]) -> None:
    content["categories"].insert(0, {"id": 0, "name": "unicorn"})


@pytest.mark.parametrize("change", [other_ids, absolute, more_classes])
def test_other_ids_order_paths_and_unused_classes_are_read(change: Callable[..., object], run: Path) -> None:
    out = exported(run, "coco", "--shapes", "masks")
    spoilt(out, change)
    assert_same(imported(run, out, "coco"), own_masks(run))


def test_images_that_the_run_does_not_have_are_named_and_left_out(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = exported(run, "coco", "--shapes", "masks")
    spoilt(out, lambda content: content["images"][0].update(file_name="elsewhere/zebra.jpg"))
    found = imported(run, out, "coco")
    assert found.keys() == {"sub/b c", "turned", "upside"}
    assert (
        "1 of the 4 images of instances_train.json are missing, e.g. 'elsewhere/zebra.jpg'" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content["categories"][0].update(name="unicorn"), "'unicorn', in "),
        (lambda content: content["annotations"][0].update(segmentation=[]), "an object of 'cat' has no outline"),
        (lambda content: content["annotations"][0].pop("segmentation"), "an object of 'cat' has no outline"),
        (lambda content: content["images"][0].update(width=61), "60 x 40"),
        (lambda content: content["annotations"][0].update(category_id=44), "has the category 44"),
        (lambda content: content.pop("images"), "lists of images, annotations, categories"),
        (lambda content: content["images"].clear(), "of images that are not listed"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_imported(
    change: Callable[..., object], said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = exported(run, "coco", "--shapes", "masks")
    spoilt(out, change)
    before = contents(run)
    assert main(["import", str(run), str(out), "--format", "coco"]) == 2
    assert said in (told := capsys.readouterr().err)
    assert "Traceback" not in told
    assert contents(run) == before


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "null", "\x00", "[" * 100_000])
def test_broken_json_is_named(text: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.json").write_text(text)
    for form in ("coco", "labelme", "labelstudio"):
        assert main(["import", str(run), str(tmp_path / "broken.json"), "--format", form]) == 2
        assert "broken.json" in (told := capsys.readouterr().err)
        assert "Traceback" not in told


@pytest.mark.parametrize(("choice", "value"), [("ignore", 255), ("background", 0)])
def test_other_classes_become_what_was_asked_for(choice: str, value: int, run: Path) -> None:
    out = exported(run, "coco", "--shapes", "masks")
    spoilt(out, lambda content: content["categories"][0].update(name="unicorn"))
    expected = {name: np.where(mask == 1, value, mask).astype(np.uint8) for name, mask in own_masks(run).items()}
    if value == 0:  # crowds of that class are areas to ignore still
        expected = {name: np.where(own_masks(run)[name] == 255, 255, mask) for name, mask in expected.items()}
    assert_same(imported(run, out, "coco", "--other-classes", choice), expected)
