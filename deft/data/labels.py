"""Image tags in the user's files, and the multi-hot matrix made from them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.data.faults import Faults, nearest
from deft.data.files import ImageFiles
from deft.data.layouts.name_lists import class_name, read_text

_EMPTY_HINT = "write 'name,' for an image that shows none of the classes"


@dataclass(frozen=True)
class Row:
    """Tags of one image, with their file and line."""

    name: str
    tags: tuple[str, ...]
    file: Path
    line: int | None = None
    tag_lines: tuple[int, ...] = ()
    """Line of each tag, if every tag has its own."""


def multi_hot(indices: Sequence[Sequence[int]], num_classes: int) -> NDArray[np.bool_]:
    """Convert lists of class indices to a multi-hot matrix.

    Args:
        indices: for each of N images the indices of its classes, each in ``range(num_classes)``; may be empty.
        num_classes: K.

    Returns:
        bool (N, K).

    Raises:
        ValueError: an index is out of range.

    >>> multi_hot([[0, 2], []], 3).astype(int).tolist()
    [[1, 0, 1], [0, 0, 0]]
    """
    labels = np.zeros((len(indices), num_classes), dtype=np.bool_)
    for row, present in enumerate(indices):
        for index in present:
            if not 0 <= index < num_classes:
                raise ValueError(
                    f"image {row} has class index {index}, expected 0 to {num_classes - 1}; "
                    "indices are 0-based and background is not counted"
                )
            labels[row, index] = True
    return labels


def read_label_csv(path: Path, classes: tuple[str, ...], faults: Faults) -> list[Row]:
    """Rows of a table with header ``image,labels``; other columns are ignored.

    Labels are separated by ``;`` if any row of the table has a ``;``, else by spaces. A cell that is a known class as a
    whole is not split.

    Args:
        path: the table, UTF-8.
        classes: names known beforehand, or empty.
        faults: collects faults, by line.
    """
    text = read_text(path, faults)
    if text is None:
        return []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    cells: list[tuple[int, str, str]] = []
    columns: tuple[int, int] | None = None
    width, start = 0, 1
    try:
        for fields in reader:
            line, start = start, reader.line_num + 1
            if not any(field.strip() for field in fields):
                continue
            if columns is None:
                header = [field.strip().casefold() for field in fields]
                if "image" not in header or "labels" not in header:
                    came = ",".join(fields)[:80]
                    faults.add(path, line, f"expected the header 'image,labels', got {came!r}", "add the header")
                    return []
                columns, width = (header.index("image"), header.index("labels")), len(header)
            elif len(fields) < width:
                faults.add(path, line, f"expected {width} columns, got {len(fields)}: {fields[0]!r}", _EMPTY_HINT)
            elif len(fields) > width:
                faults.add(
                    path, line, f"expected {width} columns, got {len(fields)}", "separate labels by ';', not by ','"
                )
            elif not fields[columns[0]].strip():
                faults.add(path, line, "the row names no image", "write the image's name into the first column")
            else:
                cells.append((line, fields[columns[0]].strip(), fields[columns[1]].strip()))
    except csv.Error as error:
        faults.add(path, start, f"not valid CSV from here on ({error})", "close or remove the quote")
        return []
    if not cells and not faults.errors:
        faults.add(path, None, "the table has no rows", "add one row for each image")
    semicolons = any(";" in cell for _, _, cell in cells)
    return [Row(name, _split(cell, semicolons, classes), path, line) for line, name, cell in cells]


def _split(cell: str, semicolons: bool, classes: tuple[str, ...]) -> tuple[str, ...]:
    if class_name(cell) in classes:
        return (class_name(cell),)
    parts = cell.split(";") if semicolons else cell.split()
    return tuple(dict.fromkeys(class_name(part) for part in parts if part.strip()))


def read_label_json(path: Path, faults: Faults) -> list[Row]:
    """Rows of ``{"image": ["cow", "grass"], ...}``."""
    text = read_text(path, faults)
    if text is None:
        return []
    pairs: list[tuple[str, object]] = []

    def collect(items: list[tuple[str, object]]) -> None:
        pairs[:] = items  # the outermost object is closed last; unlike a dict, a list keeps repeated names

    try:
        outer = json.loads(text, object_pairs_hook=collect)
    except json.JSONDecodeError as error:
        faults.add(path, error.lineno, f"not valid JSON ({error.msg})", "correct it at that line")
        return []
    except RecursionError:
        faults.add(path, None, "nested too deeply", 'write {"image": ["label", ...], ...}')
        return []
    rows: list[Row] = []
    if outer is not None or not pairs:
        faults.add(path, 1, "expected an object with one entry for each image", 'write {"image": ["label", ...], ...}')
        return []
    cursor: dict[str, int] = {}
    for name, tags in pairs:
        at = text.find(json.dumps(name, ensure_ascii=False), cursor.get(name, 0))
        cursor[name] = at + 1
        line = text.count("\n", 0, at) + 1 if at >= 0 else None
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
            cleaned = dict.fromkeys(class_name(tag) for tag in tags if tag.strip())
            rows.append(Row(name, tuple(cleaned), path, line))
        else:
            faults.add(path, line, f"expected a list of labels for {name!r}", 'write "name": ["cow", "grass"]')
    return rows


def rows_by_image(
    rows: Sequence[Row], images: ImageFiles, source: Path, faults: Faults, needed: Collection[int] | None = None
) -> list[Row | None]:
    """The row of each image; faults for rows without an image, images without a row, and several rows of one image.

    Args:
        rows: the rows of the file.
        images: the images in the folder.
        source: the file of the rows, for messages about missing rows.
        faults: collects faults.
        needed: indices of the images that must have a row; None means all.
    """
    found: list[Row | None] = [None] * len(images.paths)
    for row in rows:
        index = images.find_or_fault(row.name, faults, row.file, row.line)
        if index is None:
            continue
        other = found[index]
        if other is None:
            found[index] = row
        elif set(other.tags) == set(row.tags):
            faults.warn(row.file, row.line, f"image {row.name!r} is already in line {other.line}", "remove one row")
        else:
            what = f"image {row.name!r} has other labels in line {other.line}"
            faults.add(row.file, row.line, what, "keep one row with all its labels")
    for index in sorted(range(len(found)) if needed is None else needed):
        if found[index] is None:
            faults.add(source, None, f"image {images.names[index]!r} has no row", _EMPTY_HINT)
    return found


def label_matrix(rows: Sequence[Row | None], classes: tuple[str, ...], faults: Faults) -> NDArray[np.bool_]:
    """Multi-hot (N, K) from one row per image; a tag that is not a class is a fault at its line."""
    position = {name: index for index, name in enumerate(classes)}
    labels = np.zeros((len(rows), len(classes)), dtype=np.bool_)
    for index, row in enumerate(rows):
        for tag in row.tags if row else ():
            if row and tag not in position:
                fault_unknown(tag, row, classes, faults)
            else:
                labels[index, position[tag]] = True
    return labels


def fault_unknown(tag: str, row: Row, classes: tuple[str, ...], faults: Faults) -> None:
    """Add a fault for a tag that is not a class."""
    remedy = "separate labels by ';' or spaces" if "," in tag else "correct it, or add it to classes.txt"
    near = nearest(tag, classes) if len(faults.all) < 200 else ""
    line = row.tag_lines[row.tags.index(tag)] if row.tag_lines else row.line
    faults.add(row.file, line, f"unknown class {tag!r}{near}", remedy)
