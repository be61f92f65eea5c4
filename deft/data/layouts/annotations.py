"""Object names of a VOC annotation, in XML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deft.data.faults import Faults
from deft.data.labels import Row
from deft.data.layouts.name_lists import class_name
from deft.data.layouts.xml_files import read_xml

ROOT = "annotation"
_GEOMETRY = frozenset(("bndbox", "polygon", "robndbox", "box", "segmentation_mask"))
"""Tags that describe where an object is."""


def read_annotation(path: Path, image: str, faults: Faults) -> Row:
    """Names of the objects, each once, with the line of the first.

    Reads ``annotation/object/name``, including difficult objects, but not ``object/part/name``. Tags may be in
    capitals, and objects in a root element or a list of another name, as some tools write them. A file without objects
    has to be an ``annotation``: another root element is a fault, as is an object without a name.

    Args:
        path: an XML file.
        image: name of the image it describes.
        faults: collects faults, by line.
    """
    root = ""
    found: dict[str, int] = {}
    objects: list[tuple[int, bool]] = []
    outside: list[int] = []

    def start(tags: Sequence[str], _: dict[str, str], line: int) -> None:
        nonlocal root
        root = root or tags[0]
        if tags[-1] == "object" and len(tags) > 1 and "part" not in tags:
            objects.append((line, False))
        elif tags[-1] in _GEOMETRY and "object" not in tags:
            outside.append(line)

    def end(tags: Sequence[str], text: str, line: int) -> None:
        if tags[-1] == "name" and tags[-2:-1] == ["object"] and "part" not in tags and (name := class_name(text)):
            found.setdefault(name, line)
            if objects:
                objects[-1] = (objects[-1][0], True)

    if not read_xml(path, faults, start, end):
        return Row(image, (), path)
    nameless = [line for line, named in objects if not named]
    if nameless:
        faults.add(path, nameless[0], "an object has no name", "write <name>CLASS</name> into each <object>")
    elif outside and not objects:
        faults.add(path, outside[0], "has a box, but no <object> around it", "write it as <object><name>CLASS</name>")
    elif root != ROOT and not objects:
        what = f"expected the root element <{ROOT}>, got <{root[:40]}>"
        faults.add(path, 1, what, "use annotations in VOC's format, or remove the file")
    return Row(image, tuple(found), path, tag_lines=tuple(found.values()))
