"""XML files of annotation tools, in any encoding that Python knows, without entities, DTDs or other files.

The encoding is found and decoded here, because expat knows few of them; it then parses text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.parsers import expat

from deft.data.faults import Faults
from deft.guards.opening import UnreadableError, read_regular

MAX_BYTES = 16 * 1024 * 1024
"""Largest annotation of a single image."""

Start = Callable[[Sequence[str], dict[str, str], int], None]
"""Called with the open tags, the last of which begins, its attributes, and its line."""
End = Callable[[Sequence[str], str, int], None]
"""Called with the open tags, the last of which ends, its text, and its line."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_EBCDIC = "<?xml".encode("cp037")
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']\s*([^"'>]*?)\s*["']""")
_LARGER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "cp950",
    "ascii": "utf-8",
}
"""Encodings that many programs declare although they write a larger one."""
_NO_TEXT = frozenset(("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "unicode-escape"))
"""Codecs that are no encoding of files, and may take very long."""


class _Refused(Exception):
    """The file has a declaration that an annotation does not need."""


def read_xml(path: Path, faults: Faults, start: Start, end: End, most: int = MAX_BYTES) -> bool:
    """Parse a file; whether all of it was read, else a fault is added.

    Tags are in lower case and without the prefix of a namespace. A document type is refused before it can declare
    entities, which can read files and grow without bound.

    Args:
        path: an XML file.
        faults: collects the fault, with its line.
        start: called for each tag that begins.
        end: called for each tag that ends, with the text since the last tag.
        most: largest file, in bytes.
    """
    try:
        text = _decoded(read_regular(path, most), path, faults)
    except UnreadableError as error:
        faults.add(path, None, error.what, error.remedy)
        return False
    return text is not None and _parsed(text, path, faults, start, end)


def _decoded(data: bytes, path: Path, faults: Faults) -> str | None:
    mark = next((name for begin, name in _MARKS if data.startswith(begin)), None)
    head = data[:1000]
    if head.startswith(_EBCDIC):
        head = head.decode("cp037").encode("latin-1")
    declared = _DECLARED.match(head)
    name = mark or (declared[1].decode("ascii", "replace") if declared else "utf-8")
    try:
        known = codecs.lookup(name.lower().removeprefix("x-")).name
        if known in _NO_TEXT:
            raise LookupError
        if mark is None and known.startswith(("utf-16", "utf-32")):
            known = "utf-8"  # the declaration itself is in single bytes: it was written before the file was converted
        try:
            return data.decode(known).removeprefix("\ufeff")
        except UnicodeDecodeError:
            if known not in _LARGER:
                raise
            return data.decode(_LARGER[known])
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"not valid XML (its bytes are not {name})"
        faults.add(path, line, what, "declare the encoding that it has, or save it again as UTF-8")
    except (LookupError, ValueError, UnicodeError):
        faults.add(path, 1, f"declares the unknown encoding {name[:40]!r}", "save it again as UTF-8")
    return None


def _parsed(text: str, path: Path, faults: Faults, start: Start, end: End) -> bool:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    tags: list[str] = []
    inside: list[str] = []

    def begins(tag: str, attributes: dict[str, str]) -> None:
        tags.append(tag.rpartition(":")[2].lower())
        inside.clear()
        start(tags, attributes, parser.CurrentLineNumber)

    def ends(_: str) -> None:
        end(tags, "".join(inside), parser.CurrentLineNumber)
        tags.pop()
        inside.clear()

    def refuse(*_: object) -> None:
        raise _Refused

    parser.StartElementHandler = begins
    parser.EndElementHandler = ends
    parser.CharacterDataHandler = inside.append
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except _Refused:
        line = parser.CurrentLineNumber
        faults.add(path, line, "declares a document type or an entity", "remove the <!DOCTYPE ...> from the file")
    except expat.ExpatError as error:
        faults.add(path, error.lineno, f"not valid XML ({expat.ErrorString(error.code)})", "correct it at that line")
    except UnicodeEncodeError:  # UTF-7, for example, can hold half of a surrogate pair
        faults.add(path, None, "not valid XML (characters that do not exist)", "save it again as UTF-8")
    else:
        return True
    return False
