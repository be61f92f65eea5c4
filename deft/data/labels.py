"""Image tags in the user's files, and the multi-hot matrix made from them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.data.cells import NotAList, listed, means_nothing
from deft.data.columns import Columns, NoColumns, find_columns, is_zero, recognised, says_yes
from deft.data.faults import Faults, counted, nearest
from deft.data.files import ImageFiles
from deft.data.invisible import visible
from deft.data.layouts.name_lists import class_name, read_text
from deft.data.separators import split_cells
from deft.data.tables import NotATable, Table, read_records, read_table
from deft.data.written_names import WrittenNames, match

_JSON = '{"image": ["label", ...], ...}'
_SHOWN = 3
"""Most images or rows of one kind that have a fault each."""


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


def read_label_csv(
    path: Path, classes: tuple[str, ...], faults: Faults, images: ImageFiles | None = None, encoding: str | None = None
) -> list[Row]:
    """Rows of a table with the header ``image,labels``, or as other programs write it; other columns are ignored.

    Labels are separated by ``;`` if any row of the table has a ``;``, else as :func:`deft.data.separators.split_cells`
    finds. A cell that is a known class as a whole is not split. A table with one column of 0 and 1 for each class is
    read as well. Whatever is not the plain form is a remark.

    Args:
        path: the table.
        classes: names known beforehand, or empty.
        faults: collects faults, by line, one of each kind, and remarks.
        images: the images of the dataset, which help to find the column that names them.
        encoding: of the file; empty, or None where none can be named, detects it.
    """
    text = read_text(path, faults, encoding)
    if text is None:
        return []
    try:
        table = read_table(text)
    except NotATable as error:
        faults.add(path, error.line, error.what, error.remedy)
        return []
    if text.lstrip()[:1] in ("{", "[") and recognised(table.header) < 2:
        faults.add(path, 1, "expected a table, got JSON", "name the file labels.json")
        return []
    return _rows(table, path, classes, faults, images)


def _rows(table: Table, path: Path, classes: tuple[str, ...], faults: Faults, images: ImageFiles | None) -> list[Row]:
    """Rows of a table that was divided into cells."""
    if not table.rows and not table.wrong:
        faults.add(path, None, "the table has no rows", "add one row for each image")
        return []
    is_image = WrittenNames(images).known if images is not None else None
    try:
        columns = find_columns(table.header, [fields for _, fields in table.rows], classes, is_image)
    except NoColumns as error:
        faults.add(path, table.line, error.what, error.remedy)
        return []
    wrong = table.wrong + table.too_short(max(columns.image, *columns.labels))
    for line, what, remedy in sorted(wrong)[:1]:
        faults.add(path, line, what + _and_more(len(wrong), "row"), remedy)
    short = {line for line, _, _ in wrong}
    rows = [(line, fields) for line, fields in table.rows if line not in short or not line]
    if nameless := [line for line, fields in rows if means_nothing(fields[columns.image])]:
        what = f"the row names no image{_and_more(len(nameless), 'row')}"
        faults.add(path, nameless[0] or None, what, "write the image's name into its column")
    rows = [(line, fields) for line, fields in rows if not means_nothing(fields[columns.image])]
    tags, remarks = _tags(table.header, columns, rows, classes, path, faults)
    if columns.sure is not None:
        absent = [is_zero(fields[columns.sure]) for _, fields in rows]
        tags = [() if no else found for found, no in zip(tags, absent, strict=False)]
    for what, remedy in (*table.remarks, *columns.remarks, *remarks):
        faults.warn(path, None, what, remedy)
    names = [visible(fields[columns.image]) for _, fields in rows]
    return [Row(name, found, path, line or None) for name, found, (line, _) in zip(names, tags, rows, strict=False)]


def _tags(
    header: Sequence[str],
    columns: Columns,
    rows: Sequence[tuple[int, list[str]]],
    classes: tuple[str, ...],
    path: Path,
    faults: Faults,
) -> tuple[list[tuple[str, ...]], Sequence[tuple[str, str]]]:
    """Tags of each row, and remarks; nothing and a fault if it is ambiguous how they are written."""
    if columns.one_hot:
        names = [class_name(name) for name in header]
        return [tuple(names[at] for at in columns.labels if says_yes(fields[at])) for _, fields in rows], ()
    split = split_cells([(line, fields[at]) for at in columns.labels for line, fields in rows], classes)
    if split.fault is not None:
        line, what, remedy = split.fault
        faults.add(path, line or None, what, remedy)
        return [], ()
    parts = [split.tags[start : start + len(rows)] for start in range(0, len(split.tags), len(rows))] if rows else []
    tags = [
        tuple(dict.fromkeys(class_name(tag) for found in cells for tag in found)) for cells in zip(*parts, strict=True)
    ]
    return tags, split.remarks


def _and_more(count: int, what: str) -> str:
    return f" (and in {counted(count - 1, f'more {what}')})" if count > 1 else ""


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs: unlike a dict, it keeps repeated names."""


def read_label_json(
    path: Path,
    faults: Faults,
    classes: tuple[str, ...] = (),
    images: ImageFiles | None = None,
    encoding: str | None = None,
) -> list[Row]:
    """Rows of ``{"image": ["cow", "grass"], ...}``, or of a list of objects that are the rows of a table.

    Arguments as for :func:`read_label_csv`.
    """
    text = read_text(path, faults, encoding)
    if text is None:
        return []
    try:
        outer = json.loads(text, object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        faults.add(path, error.lineno, f"not valid JSON ({error.msg})", "correct it at that line")
        return []
    except (RecursionError, ValueError):  # an integer of too many digits
        faults.add(path, None, "nested too deeply, or with endless numbers", f"write {_JSON}")
        return []
    if isinstance(outer, list) and outer and all(isinstance(entry, _Object) and entry for entry in outer):
        return _rows(read_records([(None, _plain(entry)) for entry in outer]), path, classes, faults, images)
    if not isinstance(outer, _Object) or not outer:
        faults.add(path, 1, "expected an object with one entry for each image", f"write {_JSON}")
        return []
    if {"images", "annotations"} <= {name for name, _ in outer}:
        faults.add(path, 1, "expected tags of images, got annotations in COCO's format", "open them with coco:PATH")
        return []
    rows, wrong = [], []
    cursor: dict[str, int] = {}
    for name, tags in outer:
        at = text.find(json.dumps(name, ensure_ascii=False), cursor.get(name, 0))
        cursor[name] = at + 1
        line = text.count("\n", 0, at) + 1 if at >= 0 else None
        found = _json_tags(tags)
        if found is None:
            wrong.append((name, line))
        else:
            rows.append(Row(visible(name), found, path, line))
    for name, line in wrong[:1]:
        more = _and_more(len(wrong), "row")
        faults.add(path, line, f"expected a list of labels for {name!r}{more}", 'write "name": ["cow", "grass"]')
    return rows


def _json_tags(tags: Any) -> tuple[str, ...] | None:
    """Tags of an entry: a list of strings, null for none, or an object that holds such a list; None if it is not."""
    if tags is None:
        return ()
    if isinstance(tags, _Object):
        try:
            return listed(json.dumps(_plain(tags)))
        except NotAList:
            return None
    if not isinstance(tags, list) or not all(tag is None or isinstance(tag, str) for tag in tags):
        return None
    return tuple(dict.fromkeys(class_name(tag) for tag in tags if tag is not None and not means_nothing(tag)))


def _plain(value: Any) -> Any:
    """Pairs as dicts again, at any depth."""
    if isinstance(value, _Object):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def rows_by_image(
    rows: Sequence[Row], images: ImageFiles, source: Path, faults: Faults, needed: Collection[int] | None = None
) -> list[Row | None]:
    """The row of each image; faults for rows without an image, images without a row, and contradicting rows.

    Several rows of one image are joined if no row of the table has more than one label: it has one row a label.

    Args:
        rows: the rows of the file.
        images: the images in the folder.
        source: the file of the rows, for messages about missing rows.
        faults: collects faults.
        needed: indices of the images that must have a row; None means all.
    """
    found: list[Row | None] = [None] * len(images.paths)
    complete = not any(fault.file == str(source) for fault in faults.errors)  # no row is left out because of a fault
    single = all(len(row.tags) <= 1 for row in rows) and source.suffix.lower() != ".json"
    joined: dict[int, dict[str, None]] = {}
    again: list[tuple[Row, Row]] = []
    meant = match([(row.name, row.line) for row in rows], images, source, faults)
    for row, index in zip(rows, meant, strict=True):
        if index is None:
            continue
        other = found[index]
        if other is None:
            found[index] = row
        elif set(other.tags) == set(row.tags):
            again.append((row, other))
        elif single:
            joined.setdefault(index, dict.fromkeys(other.tags)).update(dict.fromkeys(row.tags))
        else:
            what = f"image {row.name!r} has other labels in line {other.line}"
            faults.add(row.file, row.line, what, "keep one row with all its labels")
    for row, other in () if joined else again[:1] if len(again) > _SHOWN else again:
        more = _and_more(len(again), "row") if len(again) > _SHOWN else ""
        what = f"image {row.name!r} is already in line {other.line}{more}"
        faults.warn(row.file, row.line, what, "remove one row")
    for index, tags in joined.items():
        if (first := found[index]) is not None:
            found[index] = replace(first, tags=tuple(tags))
    if joined:
        what = f"the rows of {counted(len(joined), 'image')} with several rows are joined, as each row has one label"
        faults.warn(source, None, what, "keep one row of each image if that is wrong")
    missing = [index for index in sorted(range(len(found)) if needed is None else needed) if found[index] is None]
    complete = complete and len(missing) > meant.count(None)  # else these rows are those with a wrong name
    hint = 'write "name": []' if source.suffix.lower() == ".json" else "write 'name,'"
    hint += " for an image that shows none of the classes"
    few = len(missing) <= _SHOWN
    for index in (missing if few else missing[:1]) if complete else ():
        more = "" if few else f" (and {counted(len(missing) - 1, 'more image')})"
        faults.add(source, None, f"image {images.names[index]!r} has no row{more}", hint)
    return found


def label_matrix(rows: Sequence[Row | None], classes: tuple[str, ...], faults: Faults) -> NDArray[np.bool_]:
    """Multi-hot (N, K) from one row per image; a tag that is not a class is a fault at the line of its first row."""
    position = {name: index for index, name in enumerate(classes)}
    labels = np.zeros((len(rows), len(classes)), dtype=np.bool_)
    unknown: dict[tuple[str, Path], list[Row]] = {}
    for index, row in enumerate(rows):
        for tag in row.tags if row else ():
            if row and tag not in position:
                unknown.setdefault((tag, row.file), []).append(row)
            else:
                labels[index, position[tag]] = True
    numbers = all(tag.isdigit() for tag, _ in unknown)
    if unknown and (numbers or len(unknown) > _SHOWN) and not labels.any() and len({file for _, file in unknown}) == 1:
        _fault_foreign(unknown, classes, faults)
        return labels
    for (tag, _), found in unknown.items():
        fault_unknown(tag, found[0], classes, faults, len(found))
    return labels


def _fault_foreign(unknown: Mapping[tuple[str, Path], Sequence[Row]], classes: tuple[str, ...], faults: Faults) -> None:
    """One fault for a table none of whose labels is a class."""
    shown = ", ".join(repr(tag) for tag, _ in list(unknown)[:_SHOWN])
    first = next(iter(unknown.values()))[0]
    what = f"none of its labels is a class: got {shown}, expected names such as {classes[0]!r}"
    numbers = all(tag.isdigit() for tag, _ in unknown)
    remedy = "write names in place of numbers" if numbers else "correct them, or list them in classes.txt"
    faults.add(first.file, first.line, what, remedy)


def fault_unknown(tag: str, row: Row, classes: tuple[str, ...], faults: Faults, rows: int = 1) -> None:
    """Add a fault for a tag that is not a class, in the first of ``rows`` rows with it."""
    near = nearest(tag, classes) if len(faults.all) < 200 else ""
    line = row.tag_lines[row.tags.index(tag)] if row.tag_lines else row.line
    what = f"unknown class {tag!r}{near}{_and_more(rows, 'row')}"
    faults.add(row.file, line, what, "correct it, or add it to classes.txt")
