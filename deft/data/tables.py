"""From the text of a table to its header and rows, whatever separates its columns; Python's csv reads the rows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from deft.data.cells import NotAList, is_quoted, listed
from deft.data.columns import recognised
from deft.data.invisible import visible

_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}
_DECLARED = re.compile(r'\s*"?sep=(\\t|.)"?[,;\t]*\s*?(?=[\r\n]|$)', re.IGNORECASE)
"""First line of a table for Excel."""
_HEADER_WITHIN = 5
"""A header is looked for in that many rows, behind titles and comments."""

_EMPTY_HINT = "write 'name,' for an image that shows none of the classes"

Record = tuple[int, list[str]]
"""Line and fields."""


class NotATable(ValueError):
    """Text that is no table."""

    def __init__(self, line: int | None, what: str, remedy: str) -> None:
        """Keep the parts of a fault."""
        super().__init__(what)
        self.line, self.what, self.remedy = line, what, remedy


@dataclass(frozen=True)
class Table:
    """A table with a header."""

    header: list[str]
    line: int
    """Line of the header."""
    rows: list[Record]
    remarks: list[tuple[str, str]] = field(default_factory=list)
    cut: dict[int, int] = field(default_factory=dict)
    """Number of fields of the rows that have too few, by line; empty cells are added to them."""
    wrong: list[tuple[int, str, str]] = field(default_factory=list)
    """Rows with too many fields: line, fault and remedy."""

    def too_short(self, needed: int) -> list[tuple[int, str, str]]:
        """Rows that end before column ``needed``, counted from 0: line, fault and remedy."""
        return [
            (line, f"expected {len(self.header)} columns, got {self.cut[line]}: {fields[0][:60]!r}", _EMPTY_HINT)
            for line, fields in self.rows
            if self.cut.get(line, needed + 1) <= needed
        ]


def read_table(text: str) -> Table:
    """Split a text into header and rows.

    Rows may lack trailing cells, or have empty ones too many. A list that its commas divided is joined again.

    Args:
        text: contents of the file.

    Raises:
        NotATable: the quotes are wrong, or the table is empty.
    """
    declared = _DECLARED.match(text)
    if declared:
        text = text[declared.end() :]
    delimiter = declared[1].replace("\\t", "\t") if declared else _delimiter(text)
    records = _records(text, delimiter)
    if records and all(len(fields) == 1 for _, fields in records):  # every line is in quotes, as Excel does at times
        inner = [(line, _fields(fields[0])) for line, fields in records]
        if recognised(inner[0][1]) == 2:
            records, delimiter = inner, _delimiter(records[0][1][0])
    if not records:
        raise NotATable(None, "the table has no rows", "add a header and one row for each image")
    at = next((at for at, (_, fields) in enumerate(records[:_HEADER_WITHIN]) if recognised(fields) == 2), 0)
    line, header = records[at]
    table = Table(header, line, [])
    if delimiter != ",":
        what = f"columns are read as separated by {_NAMES.get(delimiter, repr(delimiter))}"
        table.remarks.append((what, "separate them by ',' if that is wrong"))
    if at:
        table.remarks.append((f"line {line} is read as the header, the lines above it are skipped", "remove them"))
    for line, fields in records[at + 1 :]:
        _add_row(table, line, fields, delimiter)
    return table


def read_records(entries: Sequence[tuple[int | None, dict[str, Any]]]) -> Table:
    """A table from JSON objects, ``[{"image": "a.jpg", "labels": ["cow"]}, ...]``.

    Args:
        entries: line, if known, and object of each row.
    """
    header = list(dict.fromkeys(key for _, entry in entries for key in entry))
    rows = [(line or 0, [_as_cell(entry.get(key)) for key in header]) for line, entry in entries]
    return Table(header, 1, rows)


def _as_cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _delimiter(text: str) -> str:
    """What separates the columns: the mark that makes the most of the first lines."""
    lines = [line for line in re.split(r"[\r\n]+", text[:20_000]) if line.strip()][:_HEADER_WITHIN]

    def quality(delimiter: str) -> tuple[int, bool, int]:
        headers = [_fields(line, delimiter) for line in lines] or [[]]
        return max(map(recognised, headers)), len(headers[0]) > 1, len(headers[0])

    return max(_DELIMITERS, key=quality)  # of equals the first


def _fields(line: str, delimiter: str = "") -> list[str]:
    """Fields of one line; none of its quotes is a fault."""
    try:
        return next(csv.reader([line], delimiter=delimiter or _delimiter(line), skipinitialspace=True), [])
    except csv.Error:
        return []


def _records(text: str, delimiter: str) -> list[Record]:
    r"""Rows that are not blank, with their lines; quotes as in ``"[\"cow\"]"`` and ``["cow", "dog"]`` are read as well.

    Raises:
        NotATable: a quote is not closed, or text follows a closed one.
    """
    mark = re.escape(delimiter)
    in_brackets = re.compile(rf"(?<={mark})[ ]*(\[[^\[\]\r\n]*\])[ ]*(?={mark}|[\r\n]|$)")
    quoted = in_brackets.sub(lambda found: '"' + found[1].replace('"', '""') + '"', text)
    try:
        return _strict(text, delimiter)
    except NotATable:
        for other in (text.replace('\\"', '""'), quoted):
            with suppress(NotATable):
                return _strict(other, delimiter)
        raise


def _strict(text: str, delimiter: str) -> list[Record]:
    records: list[Record] = []
    start = 1
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
        for fields in reader:
            line, start = start, reader.line_num + 1
            if any(visible(field) for field in fields):
                records.append((line, fields))
    except csv.Error as error:
        raise NotATable(start, f"not valid CSV from here on ({error})", "close or remove the quote") from None
    except (TypeError, ValueError) as error:  # a delimiter that cannot be one
        raise NotATable(1, f"sep={delimiter}: {error}", "separate the columns by ',' and remove the line") from None
    return records


def _add_row(table: Table, line: int, fields: list[str], delimiter: str) -> None:
    width = len(table.header)
    while len(fields) > width and not fields[-1].strip():
        fields = fields[:-1]
    if len(fields) > width and _is_list(joined := delimiter.join(fields[width - 1 :])):
        fields = [*fields[: width - 1], joined]
    if len(fields) > width:
        what = f"expected {width} columns, got {len(fields)}"
        other = "','" if delimiter == ";" else "';'"
        table.wrong.append((line, what, f"separate labels by {other}, not by {_NAMES.get(delimiter, repr(delimiter))}"))
        return
    if len(fields) < width:
        table.cut[line] = len(fields)
    table.rows.append((line, fields + [""] * (width - len(fields))))


def _is_list(text: str) -> bool:
    """Whether fields that were joined again are one list."""
    try:
        return is_quoted(text) or bool(visible(text)[:1] in ("[", "{") and listed(text) is not None)
    except NotAList:
        return False
