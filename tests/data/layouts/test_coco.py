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
from deft.data.fingerprints import truth_fingerprint
from fakes import uninstall
from userfiles import polygon, write_coco


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
    photograph = open_data(f"coco:{coco}").train.images[0]
    os.utime(photograph, ns=(1, 1))
    assert open_data(f"coco:{coco}").train.fingerprint() == first
    photograph.write_bytes(photograph.read_bytes() + b"1")
    written = open_data(f"coco:{coco}").train.fingerprint()
    change(coco, lambda content: content["annotations"].pop())
    assert len({first, dropped, written, open_data(f"coco:{coco}").train.fingerprint()}) == 4


def test_an_outline_that_is_mended_teaches_nothing_else(coco: Path) -> None:
    before = open_data(f"coco:{coco}").train
    known = before.fingerprint(), truth_fingerprint(before)

    def mend(content: Any) -> None:
        one = next(each for each in content["annotations"] if isinstance(each.get("segmentation"), list))
        one["segmentation"][0][0] += 1

    change(coco, mend)
    after = open_data(f"coco:{coco}").train
    assert after.fingerprint() == known[0] and truth_fingerprint(after) != known[1]


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
        (
            lambda root: change(root, lambda content: content["annotations"][0].update(category_id=7)),
            "annotation 1 has the category 7, which is not listed",
        ),
        (
            lambda root: change(root, lambda content: content["annotations"][0].update(segmentation=0)),
            "annotation 1: expected polygons or run lengths, got 0",
        ),
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


def each(content: Any, act: Callable[[Any], None], part: str = "annotations") -> None:
    for record in content[part]:
        act(record)


def boxes_only(content: Any) -> None:
    each(content, lambda record: record.pop("segmentation"))


@pytest.mark.parametrize("nothing", ["gone", None, [], [[]], "", float("nan")])
def test_boxes_are_labels_without_masks(coco: Path, nothing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = open_data(f"coco:{coco}").train.labels
    uninstall("pycocotools", monkeypatch)  # nothing is drawn
    for part in ("train", "val"):
        change(coco, lambda content: each(content, lambda record: record.update(segmentation=nothing)), part)
        if nothing == "gone":
            change(coco, boxes_only, part)
    splits = open_data(f"coco:{coco}")
    assert splits.val is not None
    for data in (splits.train, splits.val):
        assert not data.scored.any() and all(sample.mask is None for sample in data)
    np.testing.assert_array_equal(splits.train.labels, expected)
    assert messages(f"coco:{coco}") == []


def test_an_image_with_one_box_alone_is_not_scored(coco: Path) -> None:
    change(coco, lambda content: content["annotations"][1].pop("segmentation"))
    train = open_data(f"coco:{coco}").train
    assert train.scored.tolist() == [True, False, True, True] and train.labels[1].tolist() == [True, True, False]
    assert any("1 of 4 images have objects without an outline" in text for text in messages(f"coco:{coco}", True))


IDS: list[Callable[[int], Any]] = [
    lambda number: f"img-{number}",
    lambda number: 10**40 + number,
    lambda number: number * 1000 - 2000,
    lambda number: f"{number:03d}",
    float,
    str,
]


@pytest.mark.parametrize("new", IDS)
def test_ids_may_be_anything(coco: Path, new: Callable[[int], Any]) -> None:
    expected = open_data(f"coco:{coco}").train

    def renumber(content: Any) -> None:
        each(content, lambda record: record.update(id=new(record["id"])), "images")
        each(content, lambda record: record.update(id=new(record["id"]), image_id=new(record["image_id"])))

    change(coco, renumber)
    assert messages(f"coco:{coco}") == []
    train = open_data(f"coco:{coco}").train
    assert train.names == expected.names
    np.testing.assert_array_equal(train.labels, expected.labels)


@pytest.mark.parametrize("new", IDS)
def test_category_ids_may_be_anything(coco: Path, new: Callable[[int], Any]) -> None:
    def renumber(content: Any) -> None:
        each(content, lambda record: record.update(id=new(record["id"])), "categories")
        each(content, lambda record: record.update(category_id=new(record["category_id"])))

    for part in ("train", "val"):
        change(coco, renumber, part)
    train = open_data(f"coco:{coco}").train
    named = [sorted(train.classes[k] for k in np.flatnonzero(row)) for row in train.labels]
    assert named == [["person"], ["person", "stop sign"], ["tooth brush"], []]


def test_an_export_through_a_table_reads_the_same(coco: Path) -> None:
    expected = open_data(f"coco:{coco}").train

    def as_table(content: Any) -> None:
        for part in ("images", "annotations", "categories"):
            each(content, lambda record: record.update(extra=float("nan"), note=None), part)
        each(
            content, lambda record: record.update(height=float(record["height"]), width=str(record["width"])), "images"
        )
        each(content, lambda record: record.update(supercategory=float("nan")), "categories")
        each(content, lambda record: record.update(image_id=float(record["image_id"]), iscrowd=str(record["iscrowd"])))
        each(content, lambda record: record.update(category_id=str(float(record["category_id"])), id=float("nan")))
        each(content, lambda record: record.update(segmentation=json.dumps(record["segmentation"])))

    change(coco, as_table)
    assert messages(f"coco:{coco}") == []
    train = open_data(f"coco:{coco}").train
    assert train.classes == expected.classes
    np.testing.assert_array_equal(train.labels, expected.labels)
    for one, other in zip(train, expected, strict=True):
        assert one.mask is not None and other.mask is not None
        np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.parametrize(
    ("category", "said"),
    [
        ({"id": 0, "name": "background"}, "'background'"),
        ({"id": 200, "name": "__background__"}, "'__background__'"),
        ({"id": 0, "name": "Root"}, "'Root'"),
        ({"id": 0, "name": "things", "supercategory": "none"}, "'things'"),  # the parent of person, see below
        ({"id": 0, "name": None}, "category 0 without a name"),
        ({"id": "0", "name": float("nan")}, "category 0 without a name"),
    ],
)
def test_a_category_that_is_no_class_and_that_nothing_uses_is_dropped(coco: Path, category: Any, said: str) -> None:
    def add(content: Any) -> None:
        content["categories"].append(category)
        content["categories"][1]["supercategory"] = "things"

    change(coco, add)
    assert open_data(f"coco:{coco}").train.classes == ("person", "stop sign", "tooth brush")
    assert any(f"no object has {said}, which is no class" in text for text in messages(f"coco:{coco}", True))


def test_a_parent_that_is_used_is_a_class(coco: Path) -> None:
    change(coco, lambda content: content["categories"][0].update(supercategory="person"))
    assert open_data(f"coco:{coco}").train.classes == ("person", "stop sign", "tooth brush")


def test_two_ids_of_one_name_are_one_class(coco: Path) -> None:
    def split(content: Any) -> None:
        content["categories"].append({"id": 91, "name": "person"})
        content["annotations"][0]["category_id"] = 91

    change(coco, split)
    train = open_data(f"coco:{coco}").train
    assert train.classes == ("person", "stop sign", "tooth brush") and train.labels[0].tolist() == [True, False, False]
    assert any("several category ids, e.g. 'person'" in text for text in messages(f"coco:{coco}", True))


@pytest.mark.parametrize("image", [99, "x", None, float("nan"), [1]])
def test_annotations_of_images_that_are_not_listed_are_left_out(coco: Path, image: Any) -> None:
    expected = open_data(f"coco:{coco}").train.labels
    change(
        coco, lambda content: content["annotations"].append({**content["annotations"][0], "id": 70, "image_id": image})
    )
    np.testing.assert_array_equal(open_data(f"coco:{coco}").train.labels, expected)
    assert any(
        "1 of 6 annotations are of images that are not listed" in text for text in messages(f"coco:{coco}", True)
    )


@pytest.mark.parametrize("crowd", ["no", "false", False, "0", 0.0, None, float("nan"), ""])
def test_no_is_no_crowd(coco: Path, crowd: Any) -> None:
    change(coco, lambda content: content["annotations"][0].update(iscrowd=crowd))
    assert open_data(f"coco:{coco}").train.labels[0].tolist() == [True, False, False]


@pytest.mark.parametrize("crowd", ["yes", "true", True, "1", 1.0])
def test_yes_is_a_crowd(coco: Path, crowd: Any) -> None:
    change(coco, lambda content: content["annotations"][0].update(iscrowd=crowd))
    train = open_data(f"coco:{coco}").train
    assert not train.labels[0].any() and set(np.unique(train[0].mask)) == {0, 255}


BAD: list[tuple[Callable[[Any], None], str]] = [
    (lambda content: content["annotations"][0].update(iscrowd="perhaps"), "annotation 1: expected iscrowd"),
    (lambda content: content["annotations"][0].update(segmentation=[10]), "annotation 1: expected pairs"),
    (lambda content: content["annotations"][0].update(segmentation=[[1, 2, 3]]), "annotation 1: expected pairs"),
    (
        lambda content: content["annotations"][0].update(segmentation=[[1, 2, 3, 4, float("nan"), 6]]),
        "annotation 1: a coordinate is not a finite number",
    ),
    (
        lambda content: content["annotations"][3].update(segmentation={"size": [64, 48], "counts": [64 * 48]}),
        "annotation 4: its run lengths are 48 x 64, its image 64 x 48",
    ),
    (
        lambda content: content["annotations"][3].update(segmentation={"size": [48, 64], "counts": "abc"}),
        "annotation 4: its ",
    ),
    (
        lambda content: content["annotations"][3].update(segmentation={"size": [48, 64]}),
        "annotation 4: its run lengths",
    ),
    (
        lambda content: content["categories"].append({"id": 1, "name": "bus"}),
        "the category id 1 stands for 'person' and for 'bus'",
    ),
    (lambda content: content["categories"][1].update(name=None), "annotation 1 (and 2 more) has the category 1"),
    (lambda content: content["categories"][1].update(name=["a"]), "category 1 has the name ['a']"),
    (lambda content: content["categories"][1].update(name="a\nb"), "category 1 has the name"),
    (lambda content: content["categories"][1].pop("id"), "category 'person' at position 1 has no id"),
    (lambda content: content["annotations"][0].pop("category_id"), "annotation 1 has the category None"),
    (lambda content: content.update(categories=[]), "annotation 2 has the category 13"),
    (lambda content: content.update(annotations=None), "an object with lists of images, annotations, categories"),
    (
        lambda content: content["annotations"].append(5),
        "expected annotations as objects with fields, got 5 at position 5",
    ),
    (lambda content: content["images"].append(None), "expected images as objects with fields"),
    (lambda content: content["images"][0].pop("file_name"), "has no file_name"),
    (lambda content: content["images"][0].update(file_name=7), "has no file_name"),
    (lambda content: content["images"][0].pop("id"), "has no id"),
    (lambda content: content["images"][0].update(height=-1), "has the size 64 x -1"),
    (lambda content: content["images"][0].update(width="wide"), "has the size 'wide' x 48"),
    (lambda content: content["images"][0].update(id=1), "two images of one name or id"),
    (
        lambda content: each(content, lambda record: record.update(image_id=f"x{record['image_id']}")),
        "5 of 5 annotations are of images that are not listed",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), BAD)
def test_a_record_that_cannot_be_read_is_one_fault(coco: Path, spoil: Callable[[Any], None], words: str) -> None:
    change(coco, spoil)
    named = [text for text in messages(f"coco:{coco}") if words in text]
    assert len(named) == 1 and "instances_train2014.json" in named[0], messages(f"coco:{coco}")
    with pytest.raises(InputError, match=r"instances_train2014\.json"):
        open_data(f"coco:{coco}")


@pytest.mark.parametrize("far", [1e9, 10**30, 1e300])
def test_coordinates_far_away_are_read_for_what_they_hold(coco: Path, far: float) -> None:
    change(
        coco,
        lambda content: content["annotations"][0].update(segmentation=[[-far, -far, far, -far, far, far, -far, far]]),
    )
    mask = open_data(f"coco:{coco}").train[0].mask
    assert mask is not None and (mask == 1).all()


@pytest.mark.parametrize("claim", [10**9, 10**18])
def test_a_size_that_is_claimed_is_never_allocated(coco: Path, claim: int) -> None:
    change(coco, lambda content: each(content, lambda record: record.update(height=claim, width=claim), "images"))
    change(coco, lambda content: content["annotations"][3].pop("segmentation"))
    with pytest.raises(InputError, match="pixels as in the annotations, got 64 x 48"):
        open_data(f"coco:{coco}").train[0]
    assert any("pixels as in the annotations" in str(fault) for fault in check(f"coco:{coco}", full=False))


def test_without_sizes_masks_have_the_size_of_the_image(coco: Path) -> None:
    change(coco, lambda content: each(content, lambda record: (record.pop("height"), record.pop("width")), "images"))
    mask = open_data(f"coco:{coco}").train[0].mask
    assert mask is not None and mask.shape == (48, 64) and (mask[4:40, 4:40] == 1).all()


def test_run_lengths_tell_the_size_of_an_image_that_has_none(coco: Path) -> None:
    change(coco, lambda content: each(content, lambda record: (record.pop("height"), record.pop("width")), "images"))
    name = sorted((coco / "train2014").iterdir())[2]
    Image.new("RGB", (60, 48)).save(name)
    with pytest.raises(InputError, match="expected 64 x 48 pixels as in the annotations, got 60 x 48"):
        open_data(f"coco:{coco}").train[2]
    other = {"size": [48, 60], "counts": [48 * 60]}
    change(coco, lambda content: content["annotations"][4].update(segmentation=other))
    assert any("image 3: its annotations have run lengths of 2 sizes" in text for text in messages(f"coco:{coco}"))


def turn(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.save(path, exif=exif)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_of_the_upright_image_turn_it(coco: Path, orientation: int) -> None:
    def upright(content: Any) -> None:
        for record in content["images"]:
            if record["id"] == 1:
                record.update(height=64, width=48)
        content["annotations"][0]["segmentation"] = polygon((4, 4, 40, 60))

    change(coco, upright)
    turn(min((coco / "train2014").iterdir()), orientation)
    sample = open_data(f"coco:{coco}").train[0]
    assert sample.mask is not None and sample.image.shape == (64, 48, 3)
    assert (sample.mask[4:60, 4:40] == 1).all() and (sample.mask == 1).sum() == 56 * 36
    assert messages(f"coco:{coco}") == []


@pytest.mark.parametrize("full", [True, False])
def test_a_turn_that_sizes_cannot_tell_is_named(coco: Path, full: bool) -> None:
    turn(min((coco / "train2014").iterdir()), 3)
    faults = check(f"coco:{coco}", full=full)
    assert any("EXIF turns it" in str(fault) and fault.warning for fault in faults)


def test_exports_of_other_tools_are_found(coco: Path, tmp_path: Path) -> None:
    expected = open_data(f"coco:{coco}")
    assert expected.val is not None
    robo, cvat = tmp_path / "robo", tmp_path / "cvat"
    for part, name in (("train", "train"), ("val", "valid")):
        shutil.copytree(coco / f"{part}2014", robo / name)
        shutil.copy(coco / "annotations" / f"instances_{part}2014.json", robo / name / "_annotations.coco.json")
    shutil.copytree(coco / "train2014", cvat / "images" / "deep")
    (cvat / "annotations").mkdir()
    shutil.copy(coco / "annotations" / "instances_train2014.json", cvat / "annotations" / "instances_default.json")
    found = open_data(f"coco:{robo}")
    assert found.val is not None and found.val.labels.tolist() == expected.val.labels.tolist()
    assert found.train.labels.tolist() == expected.train.labels.tolist()
    assert open_data(f"coco:{cvat}").train.labels.tolist() == expected.train.labels.tolist()


def test_paths_of_another_computer_are_found(coco: Path) -> None:
    expected = open_data(f"coco:{coco}").train.names

    def move(content: Any) -> None:
        each(content, lambda record: record.update(file_name=f"C:\\photos\\{record['file_name']}"), "images")

    change(coco, move)
    assert open_data(f"coco:{coco}").train.names == expected


def test_val_may_have_fewer_classes_than_train(coco: Path) -> None:
    change(coco, lambda content: content["categories"].pop(0), "val")
    splits = open_data(f"coco:{coco}")
    assert splits.val is not None and splits.val.classes == splits.train.classes
    assert splits.val.labels.astype(int).tolist() == [[0, 1, 0], [0, 0, 0]]
