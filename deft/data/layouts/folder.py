"""``folder:PATH``: a folder of images with a table of tags, or one folder for each tag.

```
PATH/images/        any names, any folders inside; PATH itself if there is no images/
PATH/labels.csv     header image,labels; labels separated by ';' or spaces      } one of these (or labels.tsv); with
PATH/labels.json    {"image": ["label", ...]}                                   } none, the folders in images/ are tags
PATH/masks/         optional: PNGs named like the images
PATH/classes.txt    optional: names and order of the classes; else the tags, sorted
PATH/val.txt        optional: names of the images held out for validation
```

With one folder for each tag, an image with several tags is in several folders: files with the same name *and* the same
content are one image with all these tags; files with the same name and different content are different images. The
folders ``train/`` and ``val/`` (``valid/``, ``validation/``, or ``test/``) over the folders for tags are splits.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError, Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, files_below, image_files, relative
from deft.data.labels import Row, label_matrix, read_label_csv, read_label_json, rows_by_image
from deft.data.layouts.class_folders import LAYOUT, read_class_folders, split_folders
from deft.data.layouts.file_dataset import FileDataset
from deft.data.layouts.name_lists import check_classes, read_classes, read_names
from deft.data.options import split_options
from deft.data.written_names import match
from deft.guards.opening import exists, is_folder

_TABLES = frozenset(("labels.csv", "labels.tsv", "labels.json"))
_TABLE_SUFFIXES = frozenset((".csv", ".tsv", ".json", ".xlsx", ".xls", ".ods", ".numbers"))


def read_folder(path: Path, faults: Faults, options: str = "") -> Splits | None:
    """Read names and labels of a folder; no image is decoded.

    Args:
        path: an existing folder.
        faults: collects all faults; the result is complete only if there are no errors.
        options: ``encoding=NAME`` of its text files, or nothing to detect it.

    Returns:
        The splits, or None if there is nothing to read.

    Raises:
        InputError: another option.
    """
    encoding = _encoding(options)
    tables = _tables(path)
    if not tables and (other := _other_layout(path)):
        faults.add(path, None, *other)
        return None
    root = path / "images" if is_folder(path / "images") else path
    images = image_files(root, frozenset() if root != path else frozenset({"masks"}), faults)
    if not images.paths:
        faults.add(root, None, "expected images, found none", LAYOUT)
        return None
    classes_file = path / "classes.txt"
    classes = read_classes(classes_file, faults, encoding) if exists(classes_file) else ()
    read = _rows(path, tables, images, classes, encoding, faults)
    if read is None:
        return None
    images, rows, source, held_out = read
    if not exists(classes_file):
        classes = tuple(sorted({tag for row in rows if row for tag in row.tags}))
        check_classes(classes, None, source, faults)
        if not classes:
            faults.add(source, None, "expected labels, found none", "label each image with its classes")
            return None
    labels = label_matrix(rows, classes, faults)
    masks = _masks(path / "masks", images, faults)
    held_out = _held_out(path / "val.txt", images, held_out, encoding, faults)

    def split(chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> FileDataset:
        picked = [int(index) for index in chosen]
        return FileDataset(
            classes=classes,
            names=tuple(images.names[index] for index in picked),
            images=tuple(images.paths[index] for index in picked),
            labels=labels[chosen],
            masks=tuple(masks[index] for index in picked),
            scored=np.array([masks[index] is not None for index in picked], dtype=np.bool_),
        )

    if held_out.all():
        faults.add(path / "val.txt", None, "no image is left to train on", "hold out fewer images")
    val = split(np.flatnonzero(held_out)) if held_out.any() else None
    return Splits(train=split(np.flatnonzero(~held_out)), val=val)


def _encoding(options: str) -> str:
    found = dict(option.partition("=")[::2] for option in split_options(options))
    if unknown := [name for name in found if name != "encoding"]:
        raise InputError(f"expected the option encoding=NAME after 'folder:PATH?', got {unknown[0]!r}; correct it")
    return found.get("encoding", "").strip()


def _tables(path: Path) -> list[Path]:
    """The tables of tags in a folder, whatever their case."""
    with os.scandir(path) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.name.casefold() in _TABLES)


def _other_layout(path: Path) -> tuple[str, str] | None:
    """Message and remedy if the folder has the layout of PASCAL VOC or COCO, or contains one that does."""
    inner = [path, *(Path(at) for at in sorted(glob.glob(os.path.join(glob.escape(os.fspath(path)), "*/"))))]
    inner += [Path(at) for at in sorted(glob.glob(os.path.join(glob.escape(os.fspath(path)), "*", "VOC*/")))]
    for at in inner:
        if (at / "JPEGImages").is_dir():
            return "expected images and tags, found the layout of PASCAL VOC", f"open it with voc:{at}"
        if any(at.glob("annotations/instances_*.json")):
            return "expected images and tags, found the layout of COCO", f"open it with coco:{at}"
    return None


def _rows(
    path: Path, tables: Sequence[Path], images: ImageFiles, classes: tuple[str, ...], encoding: str, faults: Faults
) -> tuple[ImageFiles, Sequence[Row | None], Path, NDArray[np.bool_] | None] | None:
    """The images, the row of each, the file of the rows, and which images a folder holds out."""
    if len(tables) > 1:
        faults.add(tables[-1], None, f"there is also a {tables[0].name}", "keep one of the two")
    if tables:
        table = tables[0]
        read = read_label_json if table.suffix.lower() == ".json" else read_label_csv
        rows = read(table, classes=classes, faults=faults, images=images, encoding=encoding)
        if not rows and any(fault.file == str(table) for fault in faults.errors):
            return None
        splits = split_folders(images)
        if len(set(splits.values())) > 1 and not exists(path / "val.txt"):
            what = f"the images are in the folders {' and '.join(splits)}, but none is held out"
            faults.warn(images.root, None, what, "list those to hold out in val.txt, or move them elsewhere")
        return images, rows_by_image(rows, images, table, faults), table, None
    if any("/" in relative(file, images.root) for file in images.paths):
        tagged = read_class_folders(images, faults)
        return None if tagged is None else (tagged.images, tagged.rows, images.root, tagged.held_out)
    what = "expected labels.csv, labels.json or one folder for each tag, found none"
    others = sorted(
        file for at in {path, images.root} for file in at.iterdir() if file.suffix.lower() in _TABLE_SUFFIXES
    )
    if others:
        sheet = others[0].suffix.lower() not in (".csv", ".tsv", ".txt", ".json")
        remedy = f"save it as {path / 'labels.csv'} in the format 'CSV UTF-8'" if sheet else f"name it {path}/labels"
        faults.add(path, None, f"{what}, but {others[0].name!r}", remedy + ("" if sheet else others[0].suffix.lower()))
    else:
        faults.add(path, None, what, LAYOUT)
    return None


def _masks(folder: Path, images: ImageFiles, faults: Faults) -> list[Path | None]:
    """The mask file of each image; faults for files that are not PNG or belong to no image."""
    masks: list[Path | None] = [None] * len(images.paths)
    if not is_folder(folder):
        return masks
    strangers: list[Path] = []
    for file in sorted(files_below(folder, faults=faults)):
        if file.suffix.lower() != ".png":
            faults.add(file, None, f"expected PNG masks, got {file.suffix!r}", "save it as grey or palette PNG")
            continue
        found = images.find(relative(file, folder)[: -len(file.suffix)])
        if len(found) != 1:
            strangers.append(file)
        elif masks[found[0]] is not None:
            faults.add(file, None, f"{masks[found[0]]} is the mask of the same image", "remove one of the two")
        else:
            masks[found[0]] = file
    if strangers and all(mask is None for mask in masks):
        what = f"none of the {len(strangers)} masks is named like an image, e.g. {strangers[0].name!r}"
        faults.add(folder, None, what, f"name a mask like its image: {images.names[0]}.png")
        return masks
    for file in strangers:
        faults.warn(file, None, "the mask belongs to no image and is not used", "name it like its image, with .png")
    return masks


def _held_out(
    path: Path, images: ImageFiles, folders: NDArray[np.bool_] | None, encoding: str, faults: Faults
) -> NDArray[np.bool_]:
    """(N,): images that a list or a folder holds out."""
    if exists(path) and folders is not None:
        faults.add(path, None, "there are also folders for validation", "keep the list or the folders")
    held_out = np.zeros(len(images.paths), dtype=np.bool_) if folders is None else folders
    named = [(name, line) for line, name in read_names(path, faults, encoding)] if exists(path) else []
    for index in match(named, images, path, faults):
        if index is not None:
            held_out[index] = True
    return held_out
