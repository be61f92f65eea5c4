from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft.contracts import InputError
from deft.data import check, open_data
from deft.data.layouts.voc import VOC_CLASSES


def messages(root: Path, warnings: bool = False) -> list[str]:
    return [str(fault) for fault in check(f"voc:{root}") if fault.warning == warnings]


def annotate(root: Path, tags: dict[str, list[str]]) -> None:
    (root / "image_labels.csv").unlink()
    (root / "Annotations").mkdir()
    for name, objects in tags.items():
        inner = "".join(f"<object>\n<name>{tag}</name><difficult>1</difficult></object>\n" for tag in objects)
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>\n{inner}</annotation>")


TAGS = {
    "img_00": ["cat"],
    "img_01": ["cow", "cow"],
    "img_02": ["dog"],
    "img_03": ["cat", "cow"],
    "img_04": ["dog", "cow"],
    "img_05": [],
}


def test_lists_labels_masks_and_contexts_are_read(voc_data: Path) -> None:
    splits = open_data(f"voc:{voc_data}")
    assert splits.val is not None
    assert splits.train.names == tuple(f"img_{k:02d}" for k in range(8)) and len(splits.val) == 4
    assert splits.train.classes == ("cat", "cow", "dog") and splits.train.contexts == ("grass", "road")
    assert splits.train.labels[:6].astype(int).tolist() == [
        [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [0, 0, 0],
    ]  # fmt: skip
    assert splits.train.context_labels is not None
    assert splits.train.context_labels[:2].tolist() == [[True, False], [False, True]]
    assert splits.train.scored.all() and splits.val.scored.all() and not splits.train.groups
    for part in (splits.train, splits.val):
        for sample in part:
            assert sample.mask is not None and sample.context is not None
            assert sample.image.shape == (64, 64, 3) and sample.mask.shape == sample.context.shape == (64, 64)
            seen = set(np.unique(sample.mask)) - {0, 255}
            assert seen == {k + 1 for k in np.flatnonzero(sample.labels)}


def test_train_aug_is_learnt_from_and_train_is_scored(own_voc: Path) -> None:
    lists = own_voc / "ImageSets" / "Segmentation"
    (lists / "train_aug.txt").write_text(
        "img_03\nimg_02\nimg_01\n/JPEGImages/img_00.jpg /SegmentationClassAug/img_00.png\n"
    )
    (lists / "train.txt").write_text("img_01\nimg_02\n")
    shutil.copytree(own_voc / "SegmentationClass", own_voc / "SegmentationClassAug")
    train = open_data(f"voc:{own_voc}").train
    assert train.names == ("img_03", "img_02", "img_01", "img_00")
    assert train.scored.tolist() == [False, True, True, False]
    assert train[0].mask is not None


def test_annotations_give_the_same_labels_as_the_table(own_voc: Path) -> None:
    expected = open_data(f"voc:{own_voc}").train.labels
    annotate(own_voc, TAGS)
    np.testing.assert_array_equal(open_data(f"voc:{own_voc}").train.labels, expected)


@pytest.mark.parametrize("keys", [str, lambda name: 2007000000 + int(name[-2:])])
def test_the_npy_gives_the_same_labels_and_is_left_alone(
    keys: Callable[[str], object], own_voc: Path, tree_state: Callable[[Path], str]
) -> None:
    expected = open_data(f"voc:{own_voc}").train.labels
    (own_voc / "image_labels.csv").unlink()
    (own_voc / "context_labels.csv").unlink()
    classes = ("cat", "cow", "dog")
    table = {keys(name): np.array([tag in tags for tag in classes], np.float32) for name, tags in TAGS.items()}
    if keys is not str:
        for folder in ("JPEGImages", "SegmentationClass", "SegmentationContext"):
            for file in (own_voc / folder).iterdir():
                file.rename(file.with_name("2007_0000" + file.name[-6:]))
        for file in (own_voc / "ImageSets/Segmentation").iterdir():
            file.write_text(file.read_text().replace("img_", "2007_0000"))
    np.save(own_voc / "cls_labels.npy", table)  # type: ignore[arg-type]
    before = tree_state(own_voc)
    np.testing.assert_array_equal(open_data(f"voc:{own_voc}").train.labels, expected)
    assert tree_state(own_voc) == before


def test_without_a_class_list_the_classes_are_those_of_voc(own_voc: Path) -> None:
    (own_voc / "classes.txt").unlink()
    for name in ("context_classes.txt", "context_labels.csv"):
        (own_voc / name).unlink()
    train = open_data(f"voc:{own_voc}").train
    assert train.classes == VOC_CLASSES and len(VOC_CLASSES) == 20 and train.contexts == ()
    assert train.labels[0].nonzero()[0].tolist() == [VOC_CLASSES.index("cat")] and train[0].context is None


def test_images_without_masks_are_not_scored(own_voc: Path) -> None:
    (own_voc / "SegmentationClass" / "img_01.png").unlink()
    assert open_data(f"voc:{own_voc}").train.scored.tolist() == [True, False, True, True]
    assert any("1 of 4 images have no mask" in text for text in messages(own_voc, warnings=True))
    shutil.rmtree(own_voc / "SegmentationClass")
    splits = open_data(f"voc:{own_voc}")
    assert not splits.train.scored.any() and splits.train[0].mask is None


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "listed image is missing": (
        lambda r: (r / "JPEGImages/img_02.jpg").unlink(),
        "train.txt:3: no image 'img_02'",
    ),
    "listed twice": (
        lambda r: (r / "ImageSets/Segmentation/train.txt").write_text("img_00\nimg_01\nimg_00\n"),
        "train.txt:3: 'img_00' is already in line 1",
    ),
    "listed twice in two ways": (
        lambda r: (r / "ImageSets/Segmentation/train.txt").write_text("img_00\nimg_00.jpg\n"),
        "train.txt:2: 'img_00.jpg' is already in line 1",
    ),
    "empty list": (
        lambda r: (r / "ImageSets/Segmentation/train.txt").write_text("\n"),
        "train.txt: expected one name per line",
    ),
    "no list": (
        lambda r: (r / "ImageSets/Segmentation/train.txt").unlink(),
        "Segmentation: expected train.txt or train_aug.txt",
    ),
    "no labels": (lambda r: (r / "image_labels.csv").unlink(), "expected labels in image_labels.csv"),
    "listed image without row": (
        lambda r: (r / "image_labels.csv").write_text("image,labels\nimg_00,cat\n"),
        "image_labels.csv: image 'img_01' has no row",
    ),
    "unknown context": (
        lambda r: (r / "context_labels.csv").write_text("image,labels\nimg_00,gras\n"),
        "context_labels.csv:2: unknown class 'gras' (nearest: 'grass')",
    ),
    "unknown class in xml": (lambda r: annotate(r, TAGS | {"img_01": ["cow", "hrse"]}), "img_01.xml:5: unknown class"),
    "no xml": (lambda r: annotate(r, {k: v for k, v in TAGS.items() if k != "img_02"}), "img_02.xml: image 'img_02'"),
    "no images": (lambda r: shutil.rmtree(r / "JPEGImages"), "expected a folder JPEGImages"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_with_file_and_line(fault: str, own_voc: Path) -> None:
    spoil, expected = FAULTS[fault]
    spoil(own_voc)
    assert any(expected in text for text in messages(own_voc)), messages(own_voc)
    with pytest.raises(InputError):
        open_data(f"voc:{own_voc}")


def test_an_npy_of_other_classes_is_refused(own_voc: Path) -> None:
    (own_voc / "image_labels.csv").unlink()
    np.save(own_voc / "cls_labels.npy", {"img_00": np.ones(20, np.float32)})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected 3 classes, got 20"):
        open_data(f"voc:{own_voc}")


def test_an_image_in_both_lists_is_a_warning(own_voc: Path) -> None:
    (own_voc / "ImageSets/Segmentation/val.txt").write_text("img_04\nimg_00\n")
    assert any("val.txt:2" in text and "'img_00'" in text for text in messages(own_voc, warnings=True))


def test_the_folder_above_is_answered_with_the_right_one(own_voc: Path) -> None:
    with pytest.raises(InputError, match=f"open voc:{own_voc}"):
        open_data(f"voc:{own_voc.parent}")
