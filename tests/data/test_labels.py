from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft.data.faults import Faults
from deft.data.labels import label_matrix, multi_hot, read_label_csv, read_label_json


@pytest.mark.parametrize(
    ("rows", "classes", "expected"),
    [
        ("a,cow grass\nb,cow\n", (), [("cow", "grass"), ("cow",)]),
        ("a,big cow;grass\nb,big cow\n", (), [("big cow", "grass"), ("big cow",)]),
        ("a,big cow;\nb,\n", (), [("big cow",), ()]),
        ("a,big cow\nb,cow grass\n", ("big cow", "cow", "grass"), [("big cow",), ("cow", "grass")]),
        ("a, cow  cow\tgrass \n\n\nb,;cow;;\n", (), [("cow  cow\tgrass",), ("cow",)]),
        ("a,cow cow\nb,grass  cow\n", (), [("cow",), ("grass", "cow")]),
        ('a,"x\ny"\nb,"q;""w"""\n', (), [("x\ny",), ("q", '"w"')]),
        ("a,e\u0301t\u00e9\nb,\u00e9t\u00e9\n", (), [("\u00e9t\u00e9",), ("\u00e9t\u00e9",)]),
    ],
)
def test_cells_are_split_at_semicolons_or_spaces(
    rows: str, classes: tuple[str, ...], expected: list[tuple[str, ...]], tmp_path: Path
) -> None:
    faults = Faults()
    for start, end in (("", "\n"), ("\ufeff", "\r\n")):
        path = tmp_path / "labels.csv"
        path.write_bytes((start + "Image, Labels\n" + rows).replace("\n", end).encode())
        found = [tuple(tag.replace("\r", "") for tag in row.tags) for row in read_label_csv(path, classes, faults)]
        assert found == expected and faults.all == []


def test_lines_are_those_of_the_file_also_behind_blank_and_quoted_ones(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('image,labels\n\na,"x\ny"\n\nb,cow\n')
    assert [(row.name, row.line) for row in read_label_csv(path, (), Faults())] == [("a", 3), ("b", 6)]


def test_json_names_that_hold_quotes_keep_their_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{\n"a\\"b": ["cow"],\n"caf\u00e9": ["cow", " "]\n}', encoding="utf-8")
    faults = Faults()
    assert [(row.name, row.tags, row.line) for row in read_label_json(path, faults)] == [
        ('a"b', ("cow",), 2),
        ("caf\u00e9", ("cow",), 3),
    ]
    path.write_text("[" * 200_000)
    assert read_label_json(path, faults) == [] and len(faults.errors) == 1


def test_the_matrix_has_a_one_for_each_tag_and_none_for_a_missing_row(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\na,cow cat\nb,\nc,hcow\n")
    faults = Faults()
    rows = read_label_csv(path, (), faults)
    matrix = label_matrix([*rows, None], ("cat", "cow"), faults)
    assert matrix.tolist() == [[True, True], [False, False], [False, False], [False, False]]
    assert [str(fault) for fault in faults.all] == [
        f"{path}:4: unknown class 'hcow' (nearest: 'cow'); correct it, or add it to classes.txt"
    ]


def test_multi_hot_is_the_obvious_matrix_and_refuses_what_is_out_of_range() -> None:
    indices = [[0, 2], [], [1, 1]]
    expected = np.array([[k in row for k in range(3)] for row in indices])
    np.testing.assert_array_equal(multi_hot(indices, 3), expected)
    assert multi_hot([], 4).shape == (0, 4)
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match="expected 0 to 2"):
            multi_hot([[wrong]], 3)
