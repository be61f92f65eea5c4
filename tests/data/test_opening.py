from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deft.contracts import InputError
from deft.data import check, open_data
from deft.data.faults import Fault, Faults
from deft.data.opening import KINDS, read_data


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pictures", ["KIND:PATH", "write folder:pictures"]),
        ("foldr:pictures", ["unknown kind", "nearest: 'folder'", "folder, voc, coco, yolo"]),
        ("cityscapes:pictures", ["unknown kind", "folder, voc, coco, yolo"]),
        ("voc:", ["voc:PATH", "after the colon"]),
        ("folder:/no/such/place", ["expected a folder", "does not exist", "correct the path"]),
        (f"folder:{__file__}", ["expected a folder", "is a file"]),
        (f"cvat:{__file__}", ["expected a folder", "is a file"]),
        ("labelstudoi:pictures", ["unknown kind", "nearest: 'labelstudio'"]),
        ("yolo:/no/such/data.yaml", ["does not exist", "correct the path"]),
        ("", ["KIND:PATH"]),
    ],
)
def test_a_wrong_specification_is_answered_with_the_right_one(spec: str, words: list[str]) -> None:
    for read in (open_data, check):
        with pytest.raises(InputError) as caught:
            read(spec)
        assert all(word in str(caught.value) for word in words), caught.value
        assert "\n" not in str(caught.value)


def test_a_path_that_looks_like_voc_is_answered_with_voc(voc_data: Path) -> None:
    with pytest.raises(InputError, match=f"write voc:{voc_data}"):
        open_data(str(voc_data))


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("coco", "annotations/instances_train2017.json"),
        ("yolo", "data.yaml"),
        ("cvat", "annotations.xml"),
        ("datasets", "dataset_dict.json"),
        ("imagefolder", "train/metadata.jsonl"),
        ("folder", "labels.csv"),
    ],
)
def test_a_path_without_a_kind_is_answered_with_the_kind_of_its_files(kind: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(InputError, match=f"write {kind}:{tmp_path}"):
        open_data(str(tmp_path))


def test_a_home_folder_is_found(folder_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder_data.parent))
    assert len(open_data(f"folder:~/{folder_data.name}").train) == 8


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_every_kind_says_what_is_missing_in_an_empty_folder(kind: str, tmp_path: Path) -> None:
    if kind == "datasets":
        pytest.importorskip("pyarrow")
    for spelled in (kind, kind.upper()):
        faults = check(f"{spelled}:{tmp_path}")
        assert len(faults) == 1 and not faults[0].warning and str(tmp_path) in str(faults[0])


def test_kinds_may_be_spelled_with_hyphens(tmp_path: Path) -> None:
    for kind in ("label-studio", "label_studio", "LabelStudio", "open-images"):
        assert len(check(f"{kind}:{tmp_path}")) == 1


def test_reading_labels_needs_no_torch() -> None:
    code = "import sys, deft.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


CLASSES = b"cow\ndog\n"
BOXED = b"<annotation><object><name>cow</name></object></annotation>"
CVAT = (
    b"<annotations><meta><job><labels><label><name>cow</name></label></labels></job></meta>"
    b'<image id="0" name="a.png" width="9" height="7"><tag label="cow"/></image></annotations>'
)
CHOICE = {"type": "choices", "value": {"choices": ["cow"]}}
TASKS = [{"id": key, "data": {"image": f"{key}.png"}, "annotations": [{"result": [CHOICE]}]} for key in "ab"]
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 7}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
    "categories": [{"id": 1, "name": "cow"}],
}
LABELME = [{"version": "5", "flags": {"cow": True}, "shapes": [], "imagePath": f"{name}.png"} for name in "ab"]
SOUND: dict[str, dict[str, bytes]] = {
    "folder": {
        **{f"images/{name}.png": b"" for name in "ab"},
        **{
            "labels.csv": b"image,labels\na,cow\nb,dog\n",
            "classes.txt": CLASSES,
            "val.txt": b"b\n",
            "masks/a.png": b"",
        },
    },
    "voc": {
        **{f"JPEGImages/{name}.jpg": b"" for name in "ab"},
        **{f"ImageSets/Segmentation/{part}.txt": b"a\n" for part in ("train", "train_aug")},
        **{"ImageSets/Segmentation/val.txt": b"b\n", "Annotations/a.xml": BOXED, "Annotations/b.xml": BOXED},
        **{"classes.txt": CLASSES, "context_classes.txt": b"grass\n", "context_labels.csv": b"image,labels\na,grass\n"},
        **{"SegmentationClass/a.png": b"", "SegmentationContext/a.png": b""},
    },
    "coco": {
        **{f"{part}2017/a.png": b"" for part in ("train", "val")},
        **{f"annotations/instances_{part}2017.json": json.dumps(COCO).encode() for part in ("train", "val")},
    },
    "yolo": {
        **{f"images/train/{name}.png": b"" for name in "ab"},
        **{f"labels/train/{name}.txt": b"0 0.5 0.5 0.2 0.2\n" for name in "ab"},
        "data.yaml": b"train: images/train\nnames: [cow, dog]\n",
    },
    "labelme": {
        **{f"{name}.png": b"" for name in "ab"},
        **{f"{name}.json": json.dumps(content).encode() for name, content in zip("ab", LABELME, strict=True)},
        **{"labels.txt": CLASSES, "val.txt": b"b\n"},
    },
    "labelstudio": {
        **{"images/a.png": b"", "images/b.png": b"", "export.json": json.dumps(TASKS).encode()},
        **{"classes.txt": CLASSES, "val.txt": b"b\n"},
    },
    "cvat": {"images/a.png": b"", "annotations.xml": CVAT},
    "openimages": {
        **{"images/a.png": b"", "images/b.png": b"", "labels.csv": b"ImageID,LabelName\na,cow\nb,dog\n"},
        **{"classes.txt": CLASSES, "val.txt": b"b\n"},
    },
    "imagefolder": {
        **{"train/a.png": b"", "train/metadata.csv": b"file_name,label\na.png,cow\n", "classes.txt": CLASSES},
        **{"valid/b.png": b"", "valid/metadata.csv": b"file_name,label\nb.png,dog\n"},
    },
}
"""A dataset of every kind with all files that it may have; pictures are not opened when labels are read."""
LISTED = {"yolo": {"classes.txt": CLASSES}, "labelme": {"classes.txt": CLASSES}}
"""Files that are read only if others are missing."""


def write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def told(kind: str, folder: Path) -> list[Fault]:
    faults = Faults()
    begin = time.process_time()
    read_data(f"{kind}:{folder}", faults)
    assert time.process_time() - begin < 2
    return faults.all


def large(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(2_100_000_000)  # takes no room on the disk


ODD_FILES: dict[str, Callable[[Path], object]] = {
    "named pipe": lambda path: os.mkfifo(path),
    "folder": lambda path: path.mkdir(),
    "link in a circle": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("gone"),
    "too large": large,
}
ODD_FOLDERS: dict[str, Callable[[Path], object]] = {
    **{name: ODD_FILES[name] for name in ("named pipe", "link in a circle", "link to nothing")},
    "file": lambda path: path.touch(),
}
TEXTS = [
    (kind, name)
    for kind, files in SOUND.items()
    for name in [*files, *LISTED.get(kind, {})]
    if not name.endswith((".png", ".jpg"))
]
PARTS = {("labelme", "a.json", "folder"), ("labelme", "b.json", "folder")}
"""Folders of any name may hold annotations of this kind."""
FOLDERS = sorted(
    {(kind, name.split("/")[0]) for kind, files in SOUND.items() for name in files if name.count("/") == 1}
    - {("coco", "annotations")}  # the files in it are missing then, which is told
)


@pytest.mark.parametrize("kind", SOUND)
def test_datasets_of_every_kind_are_read(kind: str, tmp_path: Path) -> None:
    write(SOUND[kind], tmp_path)
    assert not [fault for fault in told(kind, tmp_path) if not fault.warning]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize(
    ("kind", "name", "odd"), [(*case, odd) for case in TEXTS for odd in ODD_FILES if (*case, odd) not in PARTS]
)
def test_what_stands_where_a_file_is_read_and_is_none_is_told(kind: str, name: str, odd: str, tmp_path: Path) -> None:
    write(SOUND[kind], tmp_path)
    if name in LISTED.get(kind, {}):
        for other in ("data.yaml", "labels.txt"):
            (tmp_path / other).unlink(missing_ok=True)
    else:
        (tmp_path / name).unlink()
    ODD_FILES[odd](tmp_path / name)
    faults = told(kind, tmp_path)
    assert any(fault.file == str(tmp_path / name) or name in fault.what for fault in faults), faults


@pytest.mark.parametrize(("kind", "name"), TEXTS)
def test_a_file_without_permission_is_told(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(SOUND[kind], tmp_path)
    if name in LISTED.get(kind, {}):
        write({name: LISTED[kind][name]}, tmp_path)
        for other in ("data.yaml", "labels.txt"):
            (tmp_path / other).unlink(missing_ok=True)
    opened = os.open

    def refusing(path: str | Path, flags: int, *more: Any, **others: Any) -> int:
        if os.fspath(path) == str(tmp_path / name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return opened(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", refusing)  # root may read everything, so that permissions alone are no test
    faults = [fault for fault in told(kind, tmp_path) if fault.file == str(tmp_path / name)]
    assert [fault.what for fault in faults][:1] == ["no permission to read it"], faults


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("odd", ODD_FOLDERS)
@pytest.mark.parametrize(("kind", "name"), FOLDERS)
def test_what_stands_where_a_folder_is_read_and_is_none_is_told(kind: str, name: str, odd: str, tmp_path: Path) -> None:
    write(SOUND[kind], tmp_path)
    shutil.rmtree(tmp_path / name)
    ODD_FOLDERS[odd](tmp_path / name)
    faults = told(kind, tmp_path)
    assert any(str(tmp_path / name) in str(fault) for fault in faults if not fault.warning), faults


@pytest.mark.parametrize(("kind", "name"), [case for case in TEXTS if case[1] in ("classes.txt", "labels.txt")])
def test_a_list_of_classes_of_two_hundred_megabytes_is_told_at_once(kind: str, name: str, tmp_path: Path) -> None:
    write(SOUND[kind], tmp_path)
    if name in LISTED.get(kind, {}):
        for other in ("data.yaml", "labels.txt"):
            (tmp_path / other).unlink(missing_ok=True)
    (tmp_path / name).write_bytes(b"cow\n" * 50_000_000)
    faults = [fault for fault in told(kind, tmp_path) if fault.file == str(tmp_path / name)]
    (tmp_path / name).unlink()
    assert ["expected at most 1 MB" in fault.what for fault in faults] == [True]
