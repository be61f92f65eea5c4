"""``imagefolder:PATH``: images with ``metadata.csv`` or ``metadata.jsonl``, as Hugging Face's ``imagefolder`` has them.

```
PATH/train/metadata.csv or metadata.jsonl       file_name, relative to its folder, and a column of labels
PATH/validation/ or valid/, val/                optional: held out; PATH itself if there is no train/
PATH/classes.txt                                optional: names and order of the classes
```

Labels are a text, a list, or objects with categories; in a table also a list as JSON. Without metadata, the folder of
an image is its label. Numbers are positions in ``classes.txt`` if there is one.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deft.contracts import InputError, Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, files_below, image_files, relative
from deft.data.labels import Row, label_matrix, rows_by_image
from deft.data.layouts.file_dataset import FileDataset
from deft.data.layouts.name_lists import check_classes, read_classes, read_text
from deft.data.layouts.values import class_of, is_nothing, short, whole_number
from deft.data.options import split_options
from deft.guards.opening import exists, is_folder

TABLES = ("metadata.csv", "metadata.jsonl")
VAL = ("validation", "valid", "val", "dev")
_TEST = ("test", "testing", "eval", "evaluation")
_COLUMNS = ("labels", "label", "tags", "tag", "classes", "class", "categories", "category", "objects")
_INSIDE = ("categories", "category", "labels", "label", "classes", "class")
"""Fields of objects that hold a class."""

Record = tuple[int, dict[str, Any]]
"""A row with its line."""


def read_imagefolder(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read the tables; no image is decoded.

    Args:
        path: the folder.
        options: the text after ``?``: ``column=NAME``, the column of the labels.
        faults: collects the faults of the files.

    Raises:
        InputError: an option is unknown.
    """
    column = ""
    for option in split_options(options):
        name, _, column = option.partition("=")
        if name != "column" or not column:
            raise InputError(f"imagefolder:PATH?{options}: expected column=NAME, the column of the labels")
    train = next((path / name for name in ("train", "training", "data/train") if is_folder(path / name)), path)
    held = None
    if train != path:
        held = next((train.parent / name for name in VAL if is_folder(train.parent / name)), None)
    listed = path / "classes.txt"
    classes = read_classes(listed, faults) if exists(listed) else ()
    parts = [
        _rows(folder, column, classes, frozenset({*VAL, *_TEST}) if folder == path else frozenset(), faults)
        for folder in ([train] if held is None else [train, held])
    ]
    read = [part for part in parts if part is not None]
    if len(read) < len(parts):
        return None
    if not classes:
        classes = tuple(sorted({tag for _, rows in read for row in rows if row for tag in row.tags}))
        check_classes(classes, None, train, faults)
        if not classes:
            faults.add(train, None, "expected labels, found none", "label each image with its classes")
            return None
        if all(whole_number(name) is not None for name in classes):
            what = f"classes are numbers, e.g. {classes[0]}"
            faults.warn(train, None, what, "list their names in classes.txt, in order")
    first, *others = [
        FileDataset(
            classes=classes,
            names=images.names,
            images=images.paths,
            labels=label_matrix(rows, classes, faults),
            masks=(None,) * len(images.paths),
            scored=np.zeros(len(images.paths), dtype=np.bool_),
        )
        for images, rows in read
    ]
    return Splits(first, others[0] if others else None)


def _rows(
    folder: Path, column: str, classes: tuple[str, ...], skip: frozenset[str], faults: Faults
) -> tuple[ImageFiles, list[Row | None]] | None:
    images = image_files(folder, skip, faults)
    if not images.paths:
        faults.add(folder, None, "expected images, found none", "put them next to metadata.csv or metadata.jsonl")
        return None
    own = (each for name in TABLES if exists(each := folder / name))  # also what is no file, which is told then
    tables = sorted({*own, *(each for each in files_below(folder, skip) if each.name in TABLES)})
    if not tables:
        rows = [
            Row(name, (class_of(file.parent.name) or "",) if file.parent != folder else (), file)
            for name, file in zip(images.names, images.paths, strict=True)
        ]
        if outside := [row.name for row in rows if not row.tags]:
            what = f"expected metadata.csv, metadata.jsonl or one folder for each label, {outside[0]!r} is in none"
            faults.add(folder, None, what, "add the table, with the columns file_name and label")
            return None
        return images, list(rows)
    found: list[Row] = []
    for table in tables:
        records = list(_records(table, faults))
        tagged = _tagged(records, table, folder, column, classes, faults) if records else []
        if tagged is None:
            return None
        found += tagged
    return images, rows_by_image(found, images, tables[0], faults)


def _records(table: Path, faults: Faults) -> Iterator[Record]:
    text = read_text(table, faults)
    if text is None:
        return
    if table.suffix == ".csv":
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header: list[str] = []
        start = 1
        try:
            for fields in reader:
                line, start = start, reader.line_num + 1
                if not header:
                    header = [field.strip() for field in fields]
                elif fields and len(fields) != len(header):
                    what = f"expected {len(header)} columns, got {len(fields)}"
                    faults.add(table, line, what, "put cells that contain a comma in quotes")
                elif fields:
                    yield line, dict(zip(header, fields, strict=True))
        except csv.Error as error:
            faults.add(table, start, f"not valid CSV from here on ({error})", "close or remove the quote")
        return
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            try:
                record = json.loads(content)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict):
                yield line, record
            else:
                faults.add(table, line, "expected a JSON object in each line", "write one object per line")


def _tagged(
    records: list[Record], table: Path, folder: Path, column: str, classes: tuple[str, ...], faults: Faults
) -> list[Row] | None:
    """Rows of a table; None and a fault if it has not the columns that are needed."""
    columns = list(dict.fromkeys(name for _, record in records for name in record))
    files = [name for name in columns if name == "file_name"] or [
        name for name in columns if name.endswith("_file_name")
    ]
    if len(files) != 1:
        what = f"expected a column file_name, got {', '.join(map(short, columns[:6]))}"
        faults.add(table, records[0][0], what, "name the column of the image files file_name")
        return None
    others = [name for name in columns if name != files[0]]
    chosen = column or next((name for known in _COLUMNS for name in others if name.casefold() == known), "")
    chosen = chosen or (others[0] if len(others) == 1 else "")
    if chosen not in others:
        what = f"expected a column of labels, got {', '.join(map(short, others[:6])) or 'none'}"
        faults.add(table, records[0][0], what, "name it labels, or append ?column=NAME to the path")
        return None
    before = relative(table.parent, folder)
    rows = []
    for line, record in records:
        name = record.get(files[0])
        if not isinstance(name, str) or is_nothing(name):
            faults.add(table, line, f"expected the name of an image file, got {short(name)}", "write it")
            continue
        try:
            tags = _tags(record.get(chosen), classes)
        except ValueError as error:
            faults.add(table, line, f"{error} in {short(chosen)}", "write a label, or a list of labels")
            continue
        rows.append(Row(name if before == "." else f"{before}/{name}", tags, table, line))
    return rows


def _tags(value: Any, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Labels in a cell: text, a number, a list of them, or objects with categories."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            value = json.loads(value.replace("'", '"') if '"' not in value else value)
        except (ValueError, RecursionError):
            raise ValueError(f"expected labels, got {short(value)}") from None
    if isinstance(value, dict):
        key = next((name for name in _INSIDE if name in value), None)
        if key is None:
            raise ValueError(f"expected objects with categories, got {short(list(value))}")
        value = value[key]
    if isinstance(value, str) and re.search(r"[;|]", value) and value not in classes:
        value = re.split(r"[;|]", value)
    tags: dict[str, None] = {}
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            tags |= dict.fromkeys(_tags(each, classes))
        elif not is_nothing(each):
            name = class_of(each)
            if name is None:
                raise ValueError(f"expected labels, got {short(each)}")
            index = whole_number(each)
            named = index is not None and name not in classes and 0 <= index < len(classes)
            tags[classes[index] if named and index is not None else name] = None
    return tuple(tags)
