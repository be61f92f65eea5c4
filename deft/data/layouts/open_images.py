"""``openimages:PATH``: tables of image-level labels, as of Open Images (Kuznetsova et al., 2020, arXiv:1811.00982).

```
PATH/*.csv                          with the columns ImageID, LabelName and perhaps Confidence; also in annotations/
PATH/*class-descriptions*.csv       optional: LabelName and DisplayName, such as /m/01yrx,Cat
PATH/train/, validation/, or images/            images named by their ImageID; PATH itself otherwise
PATH/classes.txt                    optional: the classes to use, all others are left out
PATH/val.txt                        optional: names of the images to hold out
```

A label counts from a confidence of 0.5 on: people verified 1 and refuted 0. Only rows of images that are there are
kept, so that a few images may have the tables of nine million. Images without a row are left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deft.contracts import Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, image_files, relative
from deft.data.labels import multi_hot
from deft.data.layouts.file_dataset import FileDataset
from deft.data.layouts.name_lists import check_classes, read_classes
from deft.data.layouts.photographs import ExportedNames, held_out
from deft.data.layouts.values import class_of, is_nothing, number, short
from deft.data.options import chosen_options
from deft.guards.opening import UnreadableError, exists, is_folder, open_regular

PRESENT = 0.5
"""Smallest confidence of a label that counts."""
_COLUMNS = ("imageid", "labelname", "confidence")
_VAL = frozenset(("validation", "val", "valid"))
_SKIPPED = frozenset(("test",))
_LONGEST = 1_000_000
"""Most characters of a line in a table; those of the release have about a hundred."""


def read_open_images(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read the tables; no image is decoded.

    Args:
        path: the folder.
        options: the text after ``?``; there are none.
        faults: collects the faults of the files.
    """
    chosen_options(options, {}, "openimages")
    parted = is_folder(path / "train")
    images = image_files(path / "images" if not parted and is_folder(path / "images") else path, faults=faults)
    files = [file for folder in (path, path / "annotations", path / "labels") for file in sorted(folder.glob("*.csv"))]
    headers = {file: _header(file, faults) for file in files}
    tables = [file for file in files if {"imageid", "labelname"} <= set(headers[file])]
    if not tables:
        what = f"expected a table with the columns ImageID and LabelName, found {len(files)} other tables"
        faults.add(path, None, what, "put the .csv with the image-level labels there")
        return None
    names: dict[str, str] = {}
    for file in files:
        if file not in tables and len(headers[file]) == 2:
            names |= _descriptions(file, headers[file], faults)
    listed = path / "classes.txt"
    wanted = read_classes(listed, faults) if exists(listed) else ()
    tags: dict[int, set[str]] = {}
    val = set(held_out(path / "val.txt", images, faults))
    exported = ExportedNames.of(images)
    elsewhere = 0
    for table in tables:
        of_val = "validation" in table.name.casefold() and not parted
        for line, image, label, given in _rows(table, faults):
            index = exported.find(image)
            if index is None:
                elsewhere += 1
                continue
            found = tags.setdefault(index, set())
            confidence = 1.0 if is_nothing(given) else number(given)
            name = names.get(label) or class_of(label)
            if confidence is None or name is None:
                what = f"expected a label and its confidence, got {short(label)} and {short(given)}"
                faults.add(table, line, what, "write a number from 0 to 1")
            elif confidence >= PRESENT and (not wanted or name in wanted):
                found.add(name)
            if of_val:
                val.add(index)
    return _splits(path, images, tags, wanted, val, elsewhere, faults)


def _splits(
    path: Path,
    images: ImageFiles,
    tags: dict[int, set[str]],
    wanted: tuple[str, ...],
    val: set[int],
    elsewhere: int,
    faults: Faults,
) -> Splits | None:
    if not tags:
        what = f"no row is of one of the {len(images.paths)} images, {elsewhere} are of others"
        faults.add(images.root, None, what, "put the images there, named by their ImageID")
        return None
    if without := [name for index, name in enumerate(images.names) if index not in tags]:
        what = f"{len(without)} of {len(images.names)} images have no row, e.g. {without[0]!r}"
        faults.warn(images.root, None, what, "they are left out")
    classes = wanted or tuple(sorted(set().union(*tags.values())))
    check_classes(classes, None, path, faults)
    if not classes:
        faults.add(path, None, "expected labels with a confidence of 0.5 and more, found none", "check the tables")
        return None
    first = {index: relative(images.paths[index], images.root).split("/")[0] for index in tags}
    val |= {index for index, folder in first.items() if folder in _VAL}
    kept = [index for index in sorted(tags) if first[index] not in _SKIPPED]
    train = [index for index in kept if index not in val]
    held = [index for index in kept if index in val]
    if not train:
        faults.add(images.root, None, "no image is left to train on", "hold out fewer images")
    return Splits(_part(images, train, tags, classes), _part(images, held, tags, classes) if held else None)


def _part(
    images: ImageFiles, chosen: Sequence[int], tags: dict[int, set[str]], classes: tuple[str, ...]
) -> FileDataset:
    position = {name: index for index, name in enumerate(classes)}
    return FileDataset(
        classes=classes,
        names=tuple(images.names[index] for index in chosen),
        images=tuple(images.paths[index] for index in chosen),
        labels=multi_hot([sorted(position[name] for name in tags[index]) for index in chosen], len(classes)),
        masks=(None,) * len(chosen),
        scored=np.zeros(len(chosen), dtype=np.bool_),
    )


def _lines(table: Path, faults: Faults) -> Iterator[tuple[int, list[str]]]:
    """Rows of a table, one at a time, each with its line; tables have millions of them."""
    line = 1
    try:
        with io.TextIOWrapper(open_regular(table), encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_bounded(file), strict=True)
            for fields in reader:
                if any(field.strip() for field in fields):
                    yield line, [field.strip() for field in fields]
                line = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError) as error:
        faults.add(table, line, f"not a table in UTF-8 from here on ({error})", "export it again")
    except UnreadableError as error:
        faults.add(table, None, error.what, error.remedy)
    except OSError as error:
        faults.add(table, line, f"cannot be read ({error.strerror})", "copy it again from its source")


def _bounded(file: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a file; one without end, such as gigabytes of zeros, is not read into memory."""
    while line := file.readline(_LONGEST + 1):
        if len(line) > _LONGEST:
            raise csv.Error(f"a line of more than {_LONGEST:,} characters")
        yield line


def _header(table: Path, faults: Faults) -> list[str]:
    for _, fields in _lines(table, faults):
        return [field.casefold() for field in fields]
    return []


def _rows(table: Path, faults: Faults) -> Iterator[tuple[int, str, str, str]]:
    """Line, image, label and confidence of each row."""
    columns: list[int | None] = []
    width = 0
    for line, fields in _lines(table, faults):
        if not columns:
            header = [field.casefold() for field in fields]
            columns = [header.index(name) if name in header else None for name in _COLUMNS]
            width = len(header)
        elif len(fields) != width:
            faults.add(table, line, f"expected {width} columns, got {len(fields)}", "correct the row")
        else:
            image, label, confidence = ("" if place is None else fields[place] for place in columns)
            yield line, image, label, confidence


def _descriptions(table: Path, header: Sequence[str], faults: Faults) -> dict[str, str]:
    """Names of labels, from a table with or without a header."""
    names = {}
    for line, fields in _lines(table, faults):
        if line == 1 and header[0] == "labelname":
            continue
        name = class_of(fields[1]) if len(fields) == 2 else None
        if name is None:
            faults.add(table, line, f"expected a label and its name, got {short(','.join(fields))}", "correct the row")
        else:
            names[fields[0]] = name
    return names
