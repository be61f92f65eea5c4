from __future__ import annotations

from pathlib import Path

import pytest

from deft.data.faults import Faults
from deft.data.layouts.annotations import read_annotation


def read(path: Path, text: str | bytes) -> tuple[tuple[str, ...], list[str]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    faults = Faults()
    row = read_annotation(path, "a", faults)
    assert row.name == "a" and row.file == path
    return row.tags, [str(fault) for fault in faults.all]


def test_names_of_objects_count_and_those_of_parts_do_not(tmp_path: Path) -> None:
    text = """<annotation><folder>VOC</folder><name>no</name>
    <object><name> cat </name><part><name>head</name></part></object>
    <object><difficult>1</difficult><name>dog &amp; cow</name></object>
    <object><name>cat</name></object></annotation>"""
    assert read(tmp_path / "a.xml", text) == (("cat", "dog & cow"), [])


BOMB = (
    '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation><object><name>&b;</name></object></annotation>'
)
THEFT = (
    '<?xml version="1.0"?>\n<!DOCTYPE b [<!ENTITY f SYSTEM "file:///etc/hostname">]>\n'
    "<annotation><object><name>&f;</name></object></annotation>"
)
OUTSIDE = '<!DOCTYPE b SYSTEM "http://127.0.0.1:9/b.dtd"><annotation><object><name>cat</name></object></annotation>'


@pytest.mark.parametrize("text", [BOMB, THEFT, OUTSIDE])
def test_a_document_type_is_refused_before_anything_is_expanded(text: str, tmp_path: Path) -> None:
    tags, faults = read(tmp_path / "a.xml", text)
    assert tags == () and len(faults) == 1 and "document type" in faults[0]


@pytest.mark.parametrize(
    ("text", "line"), [("<annotation>\n<object>\n</annotation>", 3), ("", 1), (b"\xff\xfe\x00", 1), ("cat", 1)]
)
def test_what_is_no_xml_is_named_with_its_line(text: str | bytes, line: int, tmp_path: Path) -> None:
    tags, faults = read(tmp_path / "a.xml", text)
    assert tags == () and len(faults) == 1 and f"a.xml:{line}: not valid XML" in faults[0]


def test_nesting_has_no_end_and_does_no_harm(tmp_path: Path) -> None:
    tags, faults = read(tmp_path / "a.xml", "<annotation>" + "<a>" * 50_000 + "</a>" * 50_000 + "</annotation>")
    assert tags == () and faults == []


@pytest.mark.parametrize("encoding", ["gb2312", "big5", "shift_jis", "euc-kr"])
def test_encodings_that_the_xml_parser_does_not_know_are_read(encoding: str, tmp_path: Path) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><annotation><object><name>狗</name></object></annotation>'
    assert read(tmp_path / "a.xml", text.encode(encoding)) == (("狗",), [])


@pytest.mark.parametrize(
    "text",
    [
        "<Annotation><Object><Name>dog</Name></Object></Annotation>",
        "<ANNOTATION><OBJECT><NAME>dog</NAME><PART><NAME>head</NAME></PART></OBJECT></ANNOTATION>",
        "<root><object><name>dog</name></object></root>",
        "<annotation><objects><object><name>dog</name></object></objects></annotation>",
        "<v:annotation xmlns:v='urn:v'><v:object><v:name>dog</v:name></v:object></v:annotation>",
    ],
)
def test_other_spellings_of_the_tags_are_read(text: str, tmp_path: Path) -> None:
    assert read(tmp_path / "a.xml", text) == (("dog",), [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<html><body>dog</body></html>", "1: expected the root element <annotation>, got <html>"),
        ("<annotations><image><box label='dog'/></image></annotations>", "1: has a box, but no <object> around it"),
        ("<annotation>\n<item><name>dog</name><bndbox/></item></annotation>", "2: has a box, but no <object>"),
        ("<annotation>\n<object><label>dog</label></object></annotation>", "2: an object has no name"),
        ("<annotation><object>\n<name> </name></object></annotation>", "1: an object has no name"),
    ],
)
def test_a_file_in_another_format_is_never_taken_for_one_without_objects(text: str, words: str, tmp_path: Path) -> None:
    tags, faults = read(tmp_path / "a.xml", text)
    assert tags == () and len(faults) == 1 and words in faults[0]


def test_an_annotation_without_objects_has_no_labels(tmp_path: Path) -> None:
    text = "<annotation><owner><name>me</name></owner><segmented>0</segmented></annotation>"
    assert read(tmp_path / "a.xml", text) == ((), [])
