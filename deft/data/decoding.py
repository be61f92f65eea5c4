"""From the bytes of a text file to its text, whatever program wrote it.

The encoding is found by a short rule: byte order mark, UTF-16 without one, strict UTF-8, else Windows-1252 if the
result looks like text in a Western language. A statistical detector such as charset-normalizer would be a dependency
that decides worse here: of tables with a few short words it takes the German ``Löwe`` for Big5 and the French ``été``
for Windows-1250, because there is too little text to count letters in. What the rule cannot decide is left to the user.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from deft.data.pointers import pointer_in

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
"""Byte order marks, the longer first; their encoding, and its name if that is worth a remark."""

_BINARY = (
    (b"PK\x03\x04", "an Excel workbook or another archive", "save it as 'CSV UTF-8' in the spreadsheet program"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save it as 'CSV UTF-8' in the spreadsheet program"),
    (b"\x1f\x8b", "a compressed file", "unpack it"),
)

_ACCENTED = "\u00c0-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e"
_NOT_WESTERN = re.compile(
    "|".join(
        (
            f"[{_ACCENTED}]{{3}}",  # three accented letters in a row: Cyrillic, Greek, Hebrew, ... read as Western
            "(?<=[a-z\u00df-\u00ff])[\u00c0-\u00de\u0152\u0160\u0178\u017d]",  # a capital in a word: Mac Roman
            "(?<=[^\\W\\d_])[\u00a1-\u00a9\u00ab\u00ac\u00af\u00b1\u00b4\u00b6\u00b8\u00bf]",  # a sign after a letter:
            "(?<=[^\\W\\d_])[\u2020\u2021\u02c6\u2030\u2039\u201a\u201c\u201e\u2022\u02dc]",  # Chinese, Japanese, DOS
            "[\u00b0-\u00b3\u00b5\u00b9\u00bc-\u00be\u201d\u00bb](?=[^\\W\\d_])",
            "[\u00a1-\u00b9\u00bc-\u00bf]{2}",
            "\u00ff(?![^\\W\\d_])",  # at the end of a word it is the byte 0xff of a binary file
        )
    )
)


class Undecodable(ValueError):
    """Bytes that are no text in a known encoding."""

    def __init__(self, line: int | None, what: str, remedy: str) -> None:
        """Keep the parts of a fault."""
        super().__init__(what)
        self.line, self.what, self.remedy = line, what, remedy


@dataclass(frozen=True)
class Decoded:
    """A text, and the name of its encoding."""

    text: str
    encoding: str = ""
    """For a remark; empty if it is UTF-8 or was given."""


def decode(data: bytes, encoding: str | None = None) -> Decoded:
    """Decode a text file.

    Args:
        data: its bytes.
        encoding: name of its encoding as Python knows it; empty detects it. None does too, where none can be named.

    Raises:
        Undecodable: the encoding cannot be determined, or the bytes are none of its.

    >>> decode("image;labels".encode("utf-16"))
    Decoded(text='image;labels', encoding='UTF-16')
    >>> decode("Bär".encode("latin-1"))
    Decoded(text='Bär', encoding='Windows-1252')
    """
    for start, what, remedy in _BINARY:
        if data.startswith(start):
            raise Undecodable(None, f"expected text, got {what}", remedy)
    if pointer := pointer_in(data):
        raise Undecodable(None, f"expected text, got a {pointer.system} pointer in its place", pointer.remedy)
    name, said = (encoding, "") if encoding else _detect(data, encoding is not None)
    try:
        text = data.decode(name)
    except LookupError:
        raise Undecodable(
            None, f"encoding={name}: no such encoding of text", "name one that Python knows, such as gbk or cp1251"
        ) from None
    except UnicodeError as error:
        expected = f"expected {name.upper().removesuffix('-SIG')} text"
        if not isinstance(error, UnicodeDecodeError):
            raise Undecodable(None, f"{expected}, got {error}", "save it again as UTF-8") from None
        read, at = error.object, error.start  # without the byte order mark
        line = read.count(b"\n", 0, at) + 1
        raise Undecodable(line, f"{expected}, got byte {read[at]:#04x}", "save it again as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise Undecodable(line, "has a zero byte", "save it again as UTF-8 text")
    return Decoded(text.removeprefix("\ufeff"), said)


def _detect(data: bytes, nameable: bool) -> tuple[str, str]:
    """Encoding for Python, and its name if that is worth a remark; ``nameable`` if the user may name another."""
    for mark, name, said in _MARKS:
        if data.startswith(mark):
            return name, said
    if len(data) % 2 == 0:  # in UTF-16, every other byte of ASCII letters is zero
        even, odd = data[::2].count(0), data[1::2].count(0)
        for zeros, others, first, name in ((odd, even, data[:1], "utf-16-le"), (even, odd, data[1:2], "utf-16-be")):
            if not others and first.isascii() and zeros * 4 > len(data):
                return name, "UTF-16"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse_unless_western(data, error.start, nameable)
        return "cp1252", "Windows-1252"
    return "utf-8", ""


def _refuse_unless_western(data: bytes, start: int, nameable: bool) -> None:
    try:
        odd = _NOT_WESTERN.search(data.decode("cp1252"))
    except UnicodeDecodeError:
        odd = re.match("", "")
    if odd is not None:
        raise Undecodable(
            data.count(b"\n", 0, start) + 1,
            f"expected UTF-8 text, got byte {data[start]:#04x}, and it is not Windows-1252 either",
            "save it as 'CSV UTF-8' or as UTF-8 text"
            + (", or name its encoding as in folder:PATH?encoding=gbk" if nameable else ""),
        )
