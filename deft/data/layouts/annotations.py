"""Object names of a VOC annotation, read by an XML parser that expands no entities and opens no other files."""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from deft.data.faults import Faults
from deft.data.labels import Row
from deft.data.layouts.name_lists import class_name

MAX_BYTES = 16 * 1024 * 1024
"""Largest annotation read."""


class _Refused(Exception):
    """The file has a declaration that an annotation does not need."""


def read_annotation(path: Path, image: str, faults: Faults) -> Row:
    """Names of the objects, each once, with the line of the first.

    Reads ``annotation/object/name``, including difficult objects, but not ``object/part/name``. A document type is
    refused before it can declare entities, which can read files and grow without bound.

    Args:
        path: an XML file.
        image: name of the image it describes.
        faults: collects faults, by line.
    """
    parser = expat.ParserCreate()
    open_tags: list[str] = []
    text: list[str] = []
    found: dict[str, int] = {}

    def start(tag: str, _: dict[str, str]) -> None:
        open_tags.append(tag)
        text.clear()

    def end(_: str) -> None:
        if open_tags == ["annotation", "object", "name"] and (name := class_name("".join(text))):
            found.setdefault(name, parser.CurrentLineNumber)
        open_tags.pop()
        text.clear()

    def refuse(*_: object) -> None:
        raise _Refused

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        if path.stat().st_size > MAX_BYTES:
            faults.add(path, None, f"larger than {MAX_BYTES} bytes", "no annotation is that large: check the file")
            return Row(image, (), path)
        parser.Parse(path.read_bytes(), True)
    except _Refused:
        line = parser.CurrentLineNumber
        faults.add(path, line, "declares a document type or an entity", "remove the <!DOCTYPE ...> from the file")
    except expat.ExpatError as error:
        faults.add(path, error.lineno, f"not valid XML ({expat.ErrorString(error.code)})", "correct it at that line")
    except OSError as error:
        faults.add(path, None, f"cannot be read ({error.strerror})", "check its path and permissions")
    else:
        return Row(image, tuple(found), path, tag_lines=tuple(found.values()))
    return Row(image, (), path)
