from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deft.data.faults import Faults
from deft.data.files import named_images
from deft.data.labels import Row, label_matrix, multi_hot, read_label_csv, read_label_json, rows_by_image


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
        assert found == expected and faults.errors == []


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
    path.write_text("image,labels\na,cow;cat\nb,\nc,hcow\n")
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


WORDS = ("cow", "dog", "polar bear", "it's", "L\u00f6we", "n\u00e9gro-azul", "a.b")
TAGS = st.lists(st.lists(st.sampled_from(WORDS), unique=True, max_size=4), min_size=1, max_size=6)
LISTS = {
    "semicolons": ";".join,
    "bars": " | ".join,
    "commas": ", ".join,
    "JSON": json.dumps,
    "Python": repr,
    "NumPy": lambda tags: "[" + " ".join(map(repr, tags)) + "]",
    "braces": lambda tags: "{" + ",".join(f'"{tag}"' for tag in tags) + "}",
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")


def table(rows: list[list[str]], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TAGS, st.sampled_from(sorted(LISTS)), st.sampled_from(",;\t"), st.sampled_from(ENCODINGS), st.booleans())
def test_every_spelling_of_a_table_is_read_alike(
    tmp_path: Path, tags: list[list[str]], spelling: str, delimiter: str, encoding: str, declared: bool
) -> None:
    several = any(len(found) > 1 for found in tags)
    if not several and spelling in ("semicolons", "bars", "commas"):
        tags = [*tags, ["cow", "dog"]]  # else nothing shows what separates
    rows = [[f"{k}.jpg", LISTS[spelling](found) if found else ""] for k, found in enumerate(tags)]
    text = (f"sep={delimiter}\n" if declared else "") + table([["file_name", "tags"], *rows], delimiter)
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    faults = Faults()
    found = read_label_csv(tmp_path / "labels.csv", (), faults)
    assert [sorted(row.tags) for row in found] == [sorted(one) for one in tags] and not faults.errors
    assert [row.name for row in found] == [name for name, _ in rows]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TAGS, st.sampled_from([("1", "0"), ("True", "False"), ("x", ""), ("1.0", "0.0")]), st.sampled_from(",;\t"))
def test_one_column_a_class_and_one_row_a_label_are_read_alike(
    tmp_path: Path, tags: list[list[str]], marks: tuple[str, str], delimiter: str
) -> None:
    tags = [*tags, ["cow"]]
    files = named_images(tmp_path, [tmp_path / f"{k}.jpg" for k in range(len(tags))])
    classes = sorted({tag for found in tags for tag in found})
    hot = [["image", *classes]]
    hot += [[f"{k}.jpg", *(marks[name not in found] for name in classes)] for k, found in enumerate(tags)]
    single = [["image", "label"]]
    single += [[f"{k}.jpg", tag] for k, found in enumerate(tags) for tag in found or ["None"]]
    for rows in (hot, single):
        (tmp_path / "labels.csv").write_text(table(rows, delimiter), encoding="utf-8")
        faults = Faults()
        read = read_label_csv(tmp_path / "labels.csv", (), faults, files)
        by_image = rows_by_image(read, files, tmp_path / "labels.csv", faults)
        assert not faults.errors and faults.all
        assert [set(row.tags) if row else None for row in by_image] == [set(found) for found in tags]


PIECES = st.sampled_from(
    [
        *("image,labels\n", "a", "b.jpg", "c", ",", ";", "|", "\t", "\n", "\r", '"', "'", "[", "]", "{", "}", "(", ")"),
        *("cow", "dog", " ", "polar bear", "\\", "/", "sep=;\n", "sep=", "nan", "\ufeff", "\u200b", "1", "0", "-1"),
        *("labels", "image", "file://", "%20", "?d=", "\u00e9", "\u725b", "\0", "label1", "label2", "_", ":", "null"),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(PIECES, max_size=20).map(lambda pieces: "".join(pieces).encode()),
        st.lists(PIECES, max_size=20).map(lambda pieces: ("image,labels\n" + "".join(pieces)).encode("utf-16")),
    ),
    st.sampled_from([(), ("cow", "dog"), ("polar bear", "cow", "a")]),
)
def test_any_bytes_are_rows_or_faults(tmp_path: Path, data: bytes, classes: tuple[str, ...]) -> None:
    files = named_images(tmp_path, [tmp_path / "a.jpg", tmp_path / "sub" / "b.png"])
    for name, read in (("labels.csv", read_label_csv), ("labels.json", read_label_json)):
        path = tmp_path / name
        path.write_bytes(data)
        faults = Faults()
        rows = read(path, classes=classes, faults=faults, images=files)
        by_image = rows_by_image(rows, files, path, faults)
        assert len(by_image) == 2 and (all(by_image) or faults.errors)
        label_matrix(by_image, classes or ("cow",), faults)
        assert all("\n" not in str(fault) for fault in faults.all)


def test_json_null_is_no_label_and_objects_are_rows(tmp_path: Path) -> None:
    path, faults = tmp_path / "labels.json", Faults()
    path.write_text('{"a": ["cow", null], "b": null, "c": {"choices": ["dog"]}}')
    assert [row.tags for row in read_label_json(path, faults)] == [("cow",), (), ("dog",)] and faults.all == []
    path.write_text('[{"file_name": "a.jpg", "tags": ["cow", "dog"]}, {"file_name": "b.jpg", "tags": []}]')
    assert [(row.name, row.tags) for row in read_label_json(path, faults)] == [("a.jpg", ("cow", "dog")), ("b.jpg", ())]
    assert not faults.errors


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"images": [], "annotations": []}', "COCO"),
        ('{"a": "cow", "b": "dog", "c": 3}', "list of labels for 'a' (and in 2 more rows)"),
        ("[1, 2]", "an object"),
        ('{"a": ' + "9" * 5000 + "}", "endless"),
    ],
)
def test_other_json_is_one_fault_that_speaks_of_json(text: str, word: str, tmp_path: Path) -> None:
    path, faults = tmp_path / "labels.json", Faults()
    path.write_text(text)
    read_label_json(path, faults)
    [fault] = faults.errors
    assert word in fault.what and "name," not in fault.remedy


def test_a_missing_image_of_a_json_table_gets_advice_for_json(tmp_path: Path) -> None:
    path, faults = tmp_path / "labels.json", Faults()
    rows_by_image([Row("a", (), path)], named_images(tmp_path, [tmp_path / "a.jpg", tmp_path / "b.jpg"]), path, faults)
    assert [fault.remedy for fault in faults.all] == ['write "name": [] for an image that shows none of the classes']


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ("".join(f"{k},cow,dog\n" for k in range(9)), "expected 2 columns, got 3 (and in 8 more rows)"),
        ("".join(f"x{k},cow\n" for k in range(9)), "9 of 9 names are those of no image"),
        ("".join("\n,cow" for k in range(9)), "the row names no image (and in 8 more rows)"),
        ("0,cow\n", "image '1' has no row (and 7 more images)"),
        ("".join(f"{k}\n" for k in range(9)), "expected 2 columns, got 1: '0' (and in 8 more rows)"),
    ],
)
def test_a_fault_of_many_rows_is_told_once(rows: str, word: str, tmp_path: Path) -> None:
    path, faults = tmp_path / "labels.csv", Faults()
    files = named_images(tmp_path, [tmp_path / f"{k}.jpg" for k in range(9)])
    path.write_text("image,labels\n" + rows)
    rows_by_image(read_label_csv(path, (), faults, files), files, path, faults)
    [fault] = faults.errors
    assert word in fault.what


def test_labels_that_are_no_classes_are_told_once_each_or_once_for_all() -> None:
    path = Path("labels.csv")
    rows = [Row(str(k), ("cow", "ox") if k % 2 else ("hen",), path, k + 2) for k in range(20)]
    faults = Faults()
    label_matrix(rows, ("cow",), faults)
    assert [(fault.line, fault.what) for fault in faults.all] == [
        (2, "unknown class 'hen' (and in 9 more rows)"),
        (3, "unknown class 'ox' (and in 9 more rows)"),
    ]
    for tag, remedy in (("{}", "names in place of numbers"), ("species{}", "correct them")):
        faults = Faults()
        label_matrix([Row(str(k), (tag.format(k),), path, k + 2) for k in range(9)], ("cow",), faults)
        [fault] = faults.all
        assert "none of its labels is a class" in fault.what and remedy in fault.remedy
