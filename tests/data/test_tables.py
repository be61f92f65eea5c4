from __future__ import annotations

import re

import pytest

from deft.data.separators import split_cells
from deft.data.tables import NotATable, read_records, read_table

ROWS = [("a", "cow;dog"), ("b", ""), ("c", "polar bear")]


def lines(delimiter: str, quoted: bool = False) -> str:
    mark = '"' if quoted or delimiter == ";" else ""
    return "".join(f"{mark}{one}{mark}{delimiter}{mark}{other}{mark}\n" for one, other in [("image", "labels"), *ROWS])


@pytest.mark.parametrize("start", ["", "sep={}\n", "sep={}\r\n", '"sep={}"\n', "\n\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoted", [False, True])
def test_every_delimiter_is_found_and_told(delimiter: str, start: str, quoted: bool) -> None:
    table = read_table(start.format(delimiter) + lines(delimiter, quoted))
    assert table.header == ["image", "labels"]
    assert [tuple(fields) for _, fields in table.rows] == ROWS and table.wrong == []
    assert next(line for line, _ in table.rows) == table.line + 1 == start.count("\n") + 2
    named = "tabs" if delimiter == "\t" else repr(delimiter)
    expected = [] if delimiter == "," else [f"columns are read as separated by {named}"]
    assert [what for what, _ in table.remarks] == expected


def test_rows_may_lack_or_have_empty_cells_at_their_end() -> None:
    table = read_table("image,labels,note\na,cow\nb,dog,x,,\nc\n")
    assert [fields for _, fields in table.rows] == [["a", "cow", ""], ["b", "dog", "x"], ["c", "", ""]]
    assert [line for line, _, _ in table.too_short(1)] == [4] and table.wrong == []


@pytest.mark.parametrize("cell", ["['cow', 'dog']", '["cow", "dog"]', "'cow, dog'", "\u201ccow, dog\u201d"])
def test_a_list_that_its_commas_divided_is_joined(cell: str) -> None:
    [(_, fields)] = read_table(f"image,labels\na,{cell}\n").rows
    assert fields[0] == "a" and fields[1].replace(" ", "") == cell.replace(" ", "")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_labels_in_further_columns_are_told_with_their_line_and_a_remedy_that_is_one(delimiter: str) -> None:
    text = "image,labels\na,cow\nb,cow,dog\n".replace(",", delimiter)
    [(line, what, remedy)] = read_table(text).wrong
    assert (line, what) == (3, "expected 2 columns, got 3") and len(read_table(text).rows) == 1
    named = re.match("separate labels by '(.)', not by (.*)", remedy)
    assert named and named[2] == ("tabs" if delimiter == "\t" else repr(delimiter))
    mended = read_table(text.replace(f"cow{delimiter}dog", f"cow{named[1]}dog"))
    assert mended.wrong == []
    cells = split_cells([(line, fields[1]) for line, fields in mended.rows])
    assert cells.tags == [("cow",), ("cow", "dog")] and not cells.fault


def test_quotes_of_other_programs_are_read() -> None:
    assert read_table('image,labels\na,"[\\"cow\\"]"\n').rows == [(2, ["a", '["cow"]'])]
    assert read_table('"image,labels"\n"a,""cow, dog"""\n').rows == [(2, ["a", "cow, dog"])]
    assert read_table('image, labels\na, "cow, dog"\n').rows == [(2, ["a", "cow, dog"])]


def test_a_title_above_the_header_is_skipped_with_a_remark() -> None:
    table = read_table("# my tags\n\nimage,labels\na,cow\n")
    assert table.line == 3 and table.rows == [(4, ["a", "cow"])] and "line 3" in table.remarks[0][0]


@pytest.mark.parametrize(
    ("text", "line"), [("", None), ("\n \n,,\n", None), ('image,labels\n"a,cow\n', 2), ('a,"b"c\n', 1)]
)
def test_what_is_no_table_is_told_with_its_line(text: str, line: int | None) -> None:
    with pytest.raises(NotATable) as caught:
        read_table(text)
    assert caught.value.line == line and caught.value.remedy


def test_objects_are_rows() -> None:
    table = read_records([(None, {"image": "a", "labels": ["cow"]}), (None, {"image": "b", "note": 3})])
    assert table.header == ["image", "labels", "note"]
    assert [fields for _, fields in table.rows] == [["a", '["cow"]', ""], ["b", "", "3"]]
