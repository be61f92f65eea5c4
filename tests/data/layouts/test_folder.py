from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError, Splits
from deft.data import check, open_data


def picture(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 4), (value, 0, 0)).save(path)


def tags(splits: Splits) -> dict[str, set[str]]:
    train = splits.train
    return {
        name: {train.classes[k] for k in np.flatnonzero(row)}
        for name, row in zip(train.names, train.labels, strict=True)
    }


def test_table_masks_classes_and_validation_are_read(folder_data: Path) -> None:
    splits = open_data(f"folder:{folder_data}")
    assert splits.val is not None
    assert splits.train.names == tuple(f"img_{k:02d}" for k in range(8))
    assert splits.val.names == tuple(f"img_{k:02d}" for k in range(8, 12))
    assert splits.train.classes == splits.val.classes == ("cat", "cow", "dog")
    assert tags(splits)["img_03"] == {"cat", "cow"} and tags(splits)["img_05"] == set()
    assert splits.train.scored.all() and splits.train.contexts == () and splits.train.context_labels is None
    sample = splits.val[3]
    assert sample.name == "img_11" and sample.mask is not None and sample.context is None


def test_json_says_the_same_as_the_table(own_folder: Path) -> None:
    expected = tags(open_data(f"folder:{own_folder}"))
    (own_folder / "labels.csv").unlink()
    every = expected | {"img_04": {"cow", "dog"}, "img_05": set()}
    (own_folder / "labels.json").write_text(json.dumps({name: sorted(labels) for name, labels in every.items()}))
    assert tags(open_data(f"folder:{own_folder}")) == expected


@pytest.mark.parametrize("inner", ["images", "."])
def test_one_folder_for_each_tag(inner: str, tmp_path: Path) -> None:
    picture(tmp_path / inner / "cat" / "a.png", 1)
    picture(tmp_path / inner / "traffic light" / "b.png", 2)
    picture(tmp_path / inner / "traffic light" / "deep" / "c.png", 3)
    splits = open_data(f"folder:{tmp_path}")
    assert splits.train.classes == ("cat", "traffic light") and splits.val is None
    assert tags(splits) == {
        "cat/a": {"cat"},
        "traffic light/b": {"traffic light"},
        "traffic light/deep/c": {"traffic light"},
    }
    assert not splits.train.scored.any()


def test_the_same_image_in_two_tag_folders_has_both_tags(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png", 1)
    picture(tmp_path / "dog" / "a.png", 1)
    picture(tmp_path / "dog" / "b.png", 2)
    picture(tmp_path / "cat" / "b.png", 3)  # the same name, another picture
    Image.fromarray(np.ones((4, 5), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "masks" / "dog").mkdir(parents=True)
    shutil.move(tmp_path / "a.png", tmp_path / "masks" / "dog" / "a.png")
    (tmp_path / "val.txt").write_text("dog/b\n")
    splits = open_data(f"folder:{tmp_path}")
    assert tags(splits) == {"cat/a": {"cat", "dog"}, "cat/b": {"cat"}}
    assert splits.train.scored.tolist() == [True, False]
    assert splits.val is not None and splits.val.names == ("dog/b",)


def test_an_image_outside_the_tag_folders_is_a_fault(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "cat" / "a.png")
    picture(tmp_path / "images" / "b.png")
    with pytest.raises(InputError, match=r"b\.png: expected the image in a folder named after its tag"):
        open_data(f"folder:{tmp_path}")


def test_any_file_names(tmp_path: Path) -> None:
    names = [
        "Kuh & Kalb (1)",
        "caf\u00e9",
        "e\u0301t\u00e9",
        "牛",
        "a,b",
        'say "moo"',
        "sub/dir/x",
        "x",
        "100%",
        "a.b.c",
        "<b>",
    ]
    rows = ["image,labels"]
    for name in names:
        picture(tmp_path / "images" / f"{name}.PNG")
        quoted = name.replace('"', '""')
        rows.append(f'"{quoted}","big cow;grass"')
    (tmp_path / "labels.csv").write_bytes(("\ufeff" + "\r\n".join(rows)).encode())
    splits = open_data(f"folder:{tmp_path}")
    assert set(splits.train.names) == set(names)
    assert splits.train.classes == ("big cow", "grass") and splits.train.labels.all()
    assert len(list(splits.train)) == len(names)


def test_names_may_be_written_in_the_ways_people_do(tmp_path: Path) -> None:
    for name in ("caf\u00e9.jpg", "sub/b.jpg", "c.jpg", "c.png", "d.e.png"):
        picture(tmp_path / "images" / name)
    text = "labels,note,image\ncow,,cafe\u0301.jpg\ncow,x,sub\\b\ncow,,./c.jpg\ngrass,,c.png\n,,d.e\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    found = tags(open_data(f"folder:{tmp_path}"))
    assert found == {"c.jpg": {"cow"}, "c.png": {"grass"}, "caf\u00e9": {"cow"}, "d.e": set(), "sub/b": {"cow"}}


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_names_that_are_no_text_still_have_a_printable_one(tmp_path: Path) -> None:
    (tmp_path / "cow").mkdir()
    picture(tmp_path / "cow" / "a.png")
    try:
        os.rename(tmp_path / "cow" / "a.png", os.fsencode(tmp_path / "cow") + b"/\xe9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    train = open_data(f"folder:{tmp_path}").train
    assert train.names == ("cow/\\xe9",) and train[0].image.shape == (4, 5, 3)
    assert train.names[0].encode() and train.fingerprint()


def test_hidden_files_and_other_files_are_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "cow" / "a.png")
    picture(tmp_path / "images" / "cow" / "._a.png")
    picture(tmp_path / "images" / ".thumbs" / "b.png")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images", target_is_directory=True)
    assert open_data(f"folder:{tmp_path}").train.names == ("cow/a",)
    assert [str(fault) for fault in check(f"folder:{tmp_path}") if not fault.warning] == []


def test_masks_named_for_nothing_are_a_fault_when_all_are(own_folder: Path) -> None:
    for mask in (own_folder / "masks").iterdir():
        mask.rename(mask.with_name(f"{mask.stem}_mask.png"))
    with pytest.raises(InputError, match="none of the 6 masks is named like an image"):
        open_data(f"folder:{own_folder}")


def test_both_tables_at_once_are_refused(own_folder: Path) -> None:
    (own_folder / "labels.json").write_text("{}")
    with pytest.raises(InputError, match="keep one of the two"):
        open_data(f"folder:{own_folder}")


def test_one_class_and_images_without_label(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels.csv").write_text("image,labels\na,cow\nb,\nc,\n")
    train = open_data(f"folder:{tmp_path}").train
    assert train.labels.tolist() == [[True], [False], [False]]


@pytest.mark.parametrize("count", [254, 255])
def test_as_many_classes_as_a_mask_holds(count: int, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels.csv").write_text("image,labels\na," + " ".join(f"class{k}" for k in range(count)) + "\n")
    if count > 254:
        with pytest.raises(InputError, match="at most 254 classes"):
            open_data(f"folder:{tmp_path}")
    else:
        assert open_data(f"folder:{tmp_path}").train.labels.shape == (1, 254)


def test_splits_over_the_folders_for_tags_are_splits(tmp_path: Path) -> None:
    for k, name in enumerate(("train/cat/a.png", "train/dog/b.png", "valid/cat/c.png", "test/cat/d.png")):
        picture(tmp_path / "images" / name, k)
    splits = open_data(f"folder:{tmp_path}")
    assert splits.train.classes == ("cat", "dog") and splits.val is not None
    assert tags(splits) == {"train/cat/a": {"cat"}, "train/dog/b": {"dog"}}
    assert splits.val.names == ("valid/cat/c",) and splits.val.labels.tolist() == [[True, False]]
    (tmp_path / "val.txt").write_text("train/cat/a\n")
    with pytest.raises(InputError, match="there are also folders for validation"):
        open_data(f"folder:{tmp_path}")


@pytest.mark.parametrize("inner", ["", "VOC2012", "VOCdevkit/VOC2007"])
def test_the_layout_of_voc_is_answered_with_its_kind(inner: str, tmp_path: Path) -> None:
    picture(tmp_path / inner / "JPEGImages" / "a.jpg")
    with pytest.raises(InputError) as caught:
        open_data(f"folder:{tmp_path}")
    assert f"open it with voc:{tmp_path / inner}" in str(caught.value) and "\n" not in str(caught.value)


def test_the_layout_of_coco_is_answered_with_its_kind(tmp_path: Path) -> None:
    picture(tmp_path / "train2017" / "a.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text("{}")
    with pytest.raises(InputError, match="open it with coco:"):
        open_data(f"folder:{tmp_path}")


@pytest.mark.parametrize("name", ["Labels.csv", "LABELS.CSV", "labels.tsv"])
def test_tables_may_have_other_cases_and_tabs(name: str, tmp_path: Path) -> None:
    for image in "ab":
        picture(tmp_path / "images" / f"{image}.png")
    (tmp_path / name).write_text("image\tlabels\na\tcow\nb\tdog\n" if "tsv" in name else "image,labels\na,cow\nb,dog\n")
    assert tags(open_data(f"folder:{tmp_path}")) == {"a": {"cow"}, "b": {"dog"}}


@pytest.mark.parametrize(
    ("name", "remedy"), [("train.csv", "labels.csv"), ("_classes.csv", "labels.csv"), ("x.xlsx", "CSV")]
)
def test_a_table_of_another_name_is_named(name: str, remedy: str, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    (tmp_path / name).write_text("image,labels\na,cow\n")
    with pytest.raises(InputError) as caught:
        open_data(f"folder:{tmp_path}")
    assert repr(name) in str(caught.value) and remedy in str(caught.value).rpartition("; ")[2]


def test_the_encoding_can_be_declared(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels.csv").write_bytes("image,labels\na,\u72d7\n".encode("gbk"))
    with pytest.raises(InputError, match=r"encoding=gbk"):
        open_data(f"folder:{tmp_path}")
    assert open_data(f"folder:{tmp_path}?encoding=gbk").train.classes == ("\u72d7",)
    for wrong, word in (("?encoding=nope", "no such encoding"), ("?size=3", "expected the option encoding")):
        with pytest.raises(InputError, match=word):
            open_data(f"folder:{tmp_path}{wrong}")
    question = tmp_path / "what?x=3"
    picture(question / "cow" / "a.png")
    assert open_data(f"folder:{question}").train.classes == ("cow",)


def test_images_in_splits_that_a_table_lists_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train" / "a.png", 1)
    picture(tmp_path / "images" / "val" / "b.png", 2)
    (tmp_path / "labels.csv").write_text("image,labels\ntrain/a,cow\nval/b,dog\n")
    assert any("none is held out" in fault.what for fault in check(f"folder:{tmp_path}"))


@pytest.mark.parametrize("target", ["/dev/zero", "nowhere.txt", "."])
def test_a_list_of_classes_that_is_no_file_is_a_fault(target: str, own_folder: Path) -> None:
    (own_folder / "classes.txt").unlink()
    (own_folder / "classes.txt").symlink_to(target)
    faults = check(f"folder:{own_folder}")
    assert any(fault.file.endswith("classes.txt") and not fault.warning for fault in faults)
