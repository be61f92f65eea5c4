from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from deft.data.faults import Faults
from deft.data.layouts.xml_files import read_xml


def read(path: Path, data: bytes, most: int = 1000) -> tuple[list[str], list[str]]:
    """What begins and ends, and the faults."""
    path.write_bytes(data)
    seen: list[str] = []
    faults = Faults()

    def start(tags: Sequence[str], attributes: dict[str, str], line: int) -> None:
        seen.append(f"{line} {'/'.join(tags)} {attributes}" if attributes else f"{line} {'/'.join(tags)}")

    def end(tags: Sequence[str], text: str, line: int) -> None:
        seen.append(f"{line} {text.strip()} /{tags[-1]}")

    whole = read_xml(path, faults, start, end, most)
    assert whole == (not faults.all)
    return seen, [str(fault) for fault in faults.all]


def test_tags_attributes_and_text_are_handed_on_with_their_lines(tmp_path: Path) -> None:
    seen, faults = read(tmp_path / "a.xml", b"<A x='1&amp;2'>\n<n:B xmlns:n='u'>cat &lt; dog</n:B></A>")
    assert seen == ["1 a {'x': '1&2'}", "2 a/b {'xmlns:n': 'u'}", "2 cat < dog /b", "2  /a"] and faults == []


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        *(
            (name, "狗")
            for name in ("gb2312", "GBK", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "iso-2022-jp")
        ),
        *((name, "狗") for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7")),
        *((name, "соба") for name in ("koi8-r", "windows-1251", "iso-8859-5", "mac-cyrillic", "cp866")),
        *((name, "é") for name in ("iso-8859-1", "iso-8859-15", "windows-1252", "cp437", "cp037")),
    ],
)
def test_every_declared_encoding_is_read(encoding: str, text: str, tmp_path: Path) -> None:
    data = f'<?xml version="1.0" encoding="{encoding}"?><a>{text}</a>'.encode(encoding)
    assert read(tmp_path / "a.xml", data) == (["1 a", f"1 {text} /a"], [])


def test_what_programs_declare_although_they_write_something_else_is_read(tmp_path: Path) -> None:
    euro = '<?xml version="1.0" encoding="gb2312"?><a>€ 㐀</a>'.encode("gb18030")
    assert read(tmp_path / "a.xml", euro)[0][-1] == "1 € 㐀 /a"
    converted = '<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode()
    assert read(tmp_path / "a.xml", converted)[0][-1] == "1 é /a"
    marked = b"\xef\xbb\xbf" + '<?xml version="1.0" encoding="gbk"?><a>é</a>'.encode()
    assert read(tmp_path / "a.xml", marked)[0][-1] == "1 é /a"


@pytest.mark.parametrize("encoding", ["klingon", "hex", "zlib", "rot13", "idna", "punycode", "undefined", "a\0b", ""])
def test_an_encoding_that_is_none_of_text_is_named(encoding: str, tmp_path: Path) -> None:
    seen, faults = read(tmp_path / "a.xml", f'<?xml version="1.0" encoding="{encoding}"?><a/>'.encode())
    assert seen == [] and len(faults) == 1 and "a.xml:1: declares the unknown encoding" in faults[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("<?xml version='1.0'?>\n<a>狗</a>".encode("gbk"), "a.xml:2: not valid XML (its bytes are not utf-8)"),
        ('<?xml version="1.0" encoding="utf-7"?><a>+2AA-</a>'.encode("ascii"), "not valid XML"),
        (b"<a>", "a.xml:1: not valid XML (no element found)"),
        (b"<a/>" + b" " * 1000, "a.xml: expected at most 1,000 bytes, got more"),
        (b"<!DOCTYPE a SYSTEM 'a.dtd'><a/>", "a document type"),
    ],
)
def test_what_cannot_be_read_is_one_fault(data: bytes, words: str, tmp_path: Path) -> None:
    _, faults = read(tmp_path / "a.xml", data)
    assert len(faults) == 1 and words in faults[0]


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    faults = Faults()
    assert not read_xml(tmp_path / "a.xml", faults, lambda *_: None, lambda *_: None)
    assert "cannot be opened (No such file or directory)" in str(faults.all[0])
