"""How a table separates the labels of an image, decided from all of its cells at once.

A class of several words, such as ``polar bear``, and two labels with a space between them look alike. A table is
therefore split at spaces only if it shows that it means them: if most of its cells of several words have a word that
also stands alone, or only words that occur in other combinations as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from deft.data.cells import NotAList, is_quoted, listed, means_nothing, unquoted
from deft.data.faults import counted
from deft.data.invisible import visible

Tags = tuple[str, ...]
Cell = tuple[int, str]
"""Line and contents."""

_MARKS = {
    ";": re.compile("[;\uff1b\u061b]"),
    "|": re.compile("[|\uff5c\u00a6]"),
    ",": re.compile("[,\uff0c\u3001\u060c]"),
}
_ENDS_OF_LINES = re.compile(r"[\n\r\t\v\f]+")
_WEAK = {mark: re.compile(rf"\s*[{mark}]\s*") for mark in ("/", "+", "&")} | {"and": re.compile(r"\s+and\s+")}
"""They occur within names as well, and separate labels only if these also stand alone."""
_SPACES = re.compile(r"\s+")
_MOST_WORDS = 5
"""A name has no more words; a longer cell is a list."""


@dataclass(frozen=True)
class Split:
    """The labels of each cell, and what there is to say about how they were found."""

    tags: list[Tags]
    remarks: tuple[tuple[str, str], ...] = ()
    """What was decided, each with what to do if that is wrong."""
    fault: tuple[int, str, str] | None = None
    """Line, what is ambiguous, and the remedy; then the labels are not to be used."""


def split_cells(cells: Sequence[Cell], classes: Collection[str] = ()) -> Split:
    """Split the cells of a table into labels.

    Args:
        cells: line and contents of each cell.
        classes: names known beforehand, or empty. A cell that is one of them is not split.
    """
    known = frozenset(classes)
    found: dict[str, Tags] = {}
    plain: dict[str, int] = {}
    for line, cell in cells:
        if cell in found or cell in plain:
            continue
        try:
            whole = visible(cell)
            if whole in known:
                found[cell] = (whole,)
            elif means_nothing(cell):
                found[cell] = ()
            elif (tags := listed(cell)) is not None:
                found[cell] = tuple(dict.fromkeys(tags))
            else:
                plain[cell] = line
        except NotAList:
            what = f"the labels {cell[:60]!r} begin like a list and cannot be read as one"
            return Split([], fault=(line, what, "write labels separated by ';', such as 'cow;dog'"))
    lists = [cell for cell, tags in found.items() if tags and visible(cell) not in known]
    outer = _outer_quotes(plain)
    split, remark, fault = _decide(outer, known)
    if fault:
        return Split([], fault=fault)
    for cell, inner in zip(plain, outer, strict=True):
        parts = _by_classes(inner, known) or split(inner)
        found[cell] = tuple(dict.fromkeys(part for part in unquoted(parts) if not means_nothing(part)))
    remarks = [remark] if remark else []
    if lists:
        what = f"labels are read as lists, as in {lists[0][:60]!r}"
        remarks.append((what, "separate labels by ';' if that is wrong"))
    if empty := [cell.strip() for _, cell in cells if cell.strip()[:1] not in ("", "[", "{", "(") and not found[cell]]:
        what = f"{empty[0]!r} is read as no label, in {counted(len(empty), 'row')}"
        remarks.append((what, "list it in classes.txt if it is the name of a class"))
    return Split([found[cell] for _, cell in cells], tuple(remarks))


def _outer_quotes(plain: dict[str, int]) -> dict[str, int]:
    """The cells without quotes around a whole list, as in ``'cow, dog'``, with their lines."""
    inner = {}
    for cell, line in plain.items():
        text = visible(cell)
        several = is_quoted(cell) and text[0] not in text[1:-1] and text[-1] not in text[1:-1]
        inner[text[1:-1] if several else cell] = line
    return inner if len(inner) == len(plain) else dict(plain)


Decision = tuple[Callable[[str], list[str]], tuple[str, str] | None, tuple[int, str, str] | None]


def _decide(plain: dict[str, int], known: frozenset[str]) -> Decision:
    """A function that splits a cell, and a remark or a fault."""
    open_cells = {cell: line for cell, line in plain.items() if not _by_classes(cell, known)}
    first = {mark: next((cell for cell in plain if at.search(cell)), None) for mark, at in _MARKS.items()}
    semicolon, bar, comma = first[";"], first["|"], first[","]
    if semicolon is not None and bar is not None and open_cells:
        return _keep, None, _mixed(";", plain[semicolon], "|", plain[bar])
    for mark, example in ((";", semicolon), ("|", bar), (",", comma)):
        if example is None:
            continue
        at = _MARKS[mark]
        if mark != "," and (line := _comma_inside(plain, at, known)):
            return _keep, None, _mixed(mark, plain[example], ",", line)
        remark = None
        if mark != ";":
            what = f"labels are read as separated by {mark!r}, as in {example[:60]!r}"
            remark = (what, f"list the classes in classes.txt if {mark!r} is part of a name")
        elif mark == ";" and comma is not None and not known:
            what = f"labels are read as separated by ';'; ',' is part of a name, as in {comma[:60]!r}"
            remark = (what, "separate all labels by ';' if it is not")
        return at.split, remark, None
    if ends := next((cell for cell in plain if _ENDS_OF_LINES.search(cell.strip())), None):
        what = f"labels are read as separated by ends of lines or tabs, as in {ends[:60]!r}"
        return _ENDS_OF_LINES.split, (what, "separate labels by ';' if that is wrong"), None
    for mark, at in _WEAK.items():
        if (example := _stand_alone(open_cells, at)) is not None:
            what = f"labels are read as separated by {mark!r}, as in {example!r}, because each also stands alone"
            return at.split, (what, "separate labels by ';' if that is wrong"), None
    return _at_spaces(plain, open_cells, known)


def _at_spaces(plain: Iterable[str], open_cells: Iterable[str], known: frozenset[str]) -> Decision:
    """Whether cells of several words are one label or several."""
    if known:
        words = {word for name in known for word in name.split()}
        return lambda cell: cell.split() if words & set(cell.split()) & known else [cell], None, None
    cells = list(dict.fromkeys(" ".join(visible(cell).split()) for cell in plain))
    several = [cell for cell in cells if " " in cell]
    if not several:
        return _keep, None, None
    alone = {cell for cell in cells if " " not in cell}
    uses = Counter(word for cell in several for word in set(cell.split()))
    clear = [
        cell
        for cell in several
        if alone & set(cell.split()) or all(uses[word] > 1 for word in cell.split()) or len(cell.split()) > _MOST_WORDS
    ]
    if 2 * len(clear) >= len(several):
        what = f"labels are read as separated by spaces, as words of {clear[0][:60]!r} also occur apart"
        return _SPACES.split, (what, "separate labels by ';' if a label has several words"), None
    what = f"labels of several words are read as one: {several[0]!r} is one label"
    return _keep, (what, "separate labels by ';' if these are several"), None


def _by_classes(cell: str, known: frozenset[str]) -> list[str] | None:
    """The classes that a cell lists, if it can be divided into classes in one way; else None."""
    if not known:
        return None
    for at in (*_MARKS.values(), _ENDS_OF_LINES, *_WEAK.values()):
        parts = [part for part in unquoted(at.split(cell)) if not means_nothing(part)]
        if parts and all(part in known for part in parts):
            return parts
    words = visible(cell).split()
    if all(word in known for word in words):
        return words
    return _only_division(words, known)


def _only_division(words: Sequence[str], known: frozenset[str]) -> list[str] | None:
    """The words joined to classes, if there is exactly one way."""
    longest = max(name.count(" ") + 1 for name in known)
    ways: list[list[list[str]]] = [[[]]]
    for end in range(1, len(words) + 1):
        here = [
            [*way, name]
            for start in range(max(0, end - longest), end)
            if (name := " ".join(words[start:end])) in known
            for way in ways[start]
        ]
        ways.append(here[:2])  # two are as good as many: it is ambiguous
    return ways[-1][0] if len(ways[-1]) == 1 and words else None


def _comma_inside(plain: dict[str, int], at: re.Pattern[str], known: frozenset[str]) -> int | None:
    """Line of a cell in which a comma is next to a label that stands alone, although another mark separates."""
    parts = {visible(part): line for cell, line in plain.items() for part in at.split(cell)}
    names = known or {part for part in parts if part and not _MARKS[","].search(part)}
    for part, line in parts.items():
        inner = [visible(word) for word in _MARKS[","].split(part)]
        if len(inner) > 1 and part not in known and any(word in names for word in inner):
            return line
    return None


def _stand_alone(cells: Iterable[str], at: re.Pattern[str]) -> str | None:
    """A cell with the mark if in at least half of such cells every part is a cell of its own; else None."""
    cleaned = {visible(cell) for cell in cells}
    marked = sorted(cell for cell in cleaned if at.search(cell))
    clear = [cell for cell in marked if all(part in cleaned for part in at.split(cell))]
    return clear[0] if clear and 2 * len(clear) >= len(marked) else None


def _mixed(one: str, line: int, other: str, other_line: int) -> tuple[int, str, str]:
    what = f"labels are separated by {one!r} in line {line} and by {other!r} in line {other_line}"
    return max(line, other_line), what, "separate all labels by ';'"


def _keep(cell: str) -> list[str]:
    return [cell]
