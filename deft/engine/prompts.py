"""Words for the classes of a dataset and for its background, for a network that reads: ``prompts.csv`` of the user.

::

    class,prompts
    bird,bird avian
    person,"person with clothes,people,human"
    background,sky;water;road

Prompts are separated by ``;``, and columns by a comma, ``;`` or a tab; prompts of a class are averaged. The row
``background`` has words for what is around the objects. They compete with the classes of an image for its pixels, so a
word that is a class, or a prompt of one, is refused, whatever its case, its number and its hyphens. So is a prompt of
two classes, which could not be told apart. A class without a row has its own name, with spaces for ``_``. The usual
background words leave out every word of a class: ``street`` and ``sign`` where a class is ``street_sign``.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deft.contracts import InputError
from deft.data.faults import Faults
from deft.data.invisible import visible
from deft.data.layouts.name_lists import read_text

ROW = "background"
"""Name of the row with the words for the background."""
WORDS = (
    *("ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea", "railway"),
    *("railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean", "road", "rock", "street", "valley"),
    *("bridge", "sign"),
)
"""Background words of CLIP-ES for VOC, used where the user gives none."""
SHOWN = 5
"""Number of faults that a message lists."""
_BEHIND = frozenset(("with", "without", "on", "in", "at", "near", "by", "under", "over", "behind", "beside"))
"""Words before what is only around an object: a ``boat on the water`` is none."""
_ARTICLES = ("a", "an", "the")
_COLUMNS = ["class", "prompts"]
_SEPARATORS = (",", ";", "\t")
_LARGEST = 4_000_000
"""Largest file in bytes."""


@dataclass(frozen=True)
class Prompts:
    """Words of a dataset."""

    classes: tuple[tuple[str, ...], ...]
    """Prompts of each of the K classes, at least one."""
    background: tuple[str, ...]
    """Words for the background, at least one."""

    def __str__(self) -> str:
        """All words in one text, another one for other words."""
        return repr((self.classes, self.background))


def plain_prompts(classes: Sequence[str]) -> Prompts:
    """The names of the classes, and those of :data:`WORDS` that are neither a class nor a word of one.

    Raises:
        InputError: they all are, or two classes have the same name but for case, hyphens and ``_``.
    """
    prompts = [(readable(name),) for name in classes]
    for first, second, _ in _shared(prompts):
        raise InputError(
            f"the classes {classes[first]!r} and {classes[second]!r} have the same words, so that nothing tells them "
            "apart; name a file with other prompts for one of them, --set seeds.prompts=prompts.csv, or rename it"
        )
    return _checked("prompts", prompts, _free(classes, prompts))


def read_prompts(path: Path, classes: Sequence[str]) -> Prompts:
    """Read ``prompts.csv``.

    Args:
        path: the file.
        classes: names of the K classes of the data.

    Raises:
        InputError: the file cannot be read, or is no such table; a row is for no class of the data or comes twice; two
            classes have the same prompt; a background word is a class or a prompt of one. The message lists the first
            faults, with their lines.
    """
    faults = Faults()
    if ROW in classes:
        raise InputError(
            f"{path}: the data has a class {ROW!r}, which in prompts is what is around the objects; rename the class"
        )
    text = read_text(path, faults, most=_LARGEST)
    _refuse(faults)
    found: dict[str, tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    for line, cells in _rows(text or "", path, faults):
        name = visible(cells[0])
        words = tuple(dict.fromkeys(word for one in cells[1:] for part in one.split(";") if (word := visible(part))))
        if name != ROW and name not in classes:
            near = difflib.get_close_matches(name, [*classes, ROW], n=1, cutoff=0)
            remedy = f"did you mean {near[0]!r}? The classes are {', '.join(classes)}" if near else "remove it"
            faults.add(path, line, f"prompts for {name!r}, which is no class of the data", remedy)
        elif name in found:
            faults.add(
                path, line, f"prompts for {name!r} a second time (see line {lines[name]})", "join both rows by ';'"
            )
        elif not words:
            faults.add(path, line, f"no prompts for {name!r}", "write some, or remove the row")
        else:
            found[name], lines[name] = words, line
    background = found.pop(ROW, None)
    prompts = [found.get(name, (readable(name),)) for name in classes]
    for first, second, word in _shared(prompts):
        _add_shared(faults, path, word, [(classes[place], lines.get(classes[place])) for place in (first, second)])
    for word in background or ():
        if taken := _taken(word, classes, prompts):
            faults.add(path, lines[ROW], f"the background word {word!r} is {taken}", "remove the word")
    _refuse(faults)
    return _checked(str(path), prompts, background or _free(classes, prompts))


def readable(name: str) -> str:
    """The name of a class as a text: ``potted_plant`` is ``potted plant``."""
    return " ".join(name.replace("_", " ").split())


def _rows(text: str, path: Path, faults: Faults) -> list[tuple[int, list[str]]]:
    """Rows behind the header, each with its line; a header that is none is a fault.

    Columns may be separated by ``;`` or tabs, as spreadsheets write them in many languages. What follows the second
    one there are further prompts, while behind a comma it may be the rest of a prompt with a comma.
    """
    separator = next((mark for mark in _SEPARATORS if _header(text, mark) == _COLUMNS), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            while len(cells) > len(_COLUMNS) and not cells[-1].strip():
                cells.pop()
            if any(map(str.strip, cells)):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        faults.add(path, reader.line_num, f"expected a table of class and prompts, got {error}", "correct the quotes")
        return []
    header = [visible(cell).casefold() for cell in rows[0][1]] if rows else []
    if header != _COLUMNS:
        came = f"got {', '.join(header)!r}" if header else "got an empty file"
        faults.add(path, rows[0][0] if rows else None, f"expected the header 'class,prompts', {came}", "write it first")
        return []
    if separator != ",":
        return rows[1:]
    for line, cells in rows[1:]:
        if len(cells) > 2:
            what = f"expected a class and its prompts, got {len(cells)} columns"
            faults.add(path, line, what, "put prompts with a comma in quotes, and separate prompts by ';'")
    return [row for row in rows[1:] if len(row[1]) <= 2]


def _header(text: str, separator: str) -> list[str]:
    """The cells of the first line."""
    first = "".join(text.lstrip().splitlines()[:1]).rstrip(f"{separator} ")
    return [visible(cell.strip(' "')).casefold() for cell in first.split(separator)]


def _free(classes: Sequence[str], prompts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The words for any background that are no words of a class, its name or its prompts."""
    texts = [*classes, *(text for own in prompts for text in own)]
    used = [forms for text in texts for forms in _object(_forms(text))]
    return tuple(word for word in WORDS if not any(_forms(word)[0] & forms for forms in used))


def _taken(word: str, classes: Sequence[str], prompts: Iterable[tuple[str, ...]]) -> str:
    """What a background word is beside that: ``a class``, ``a prompt of 'bird'``; empty if nothing."""
    if any(_same(word, name) for name in classes):
        return "a class of the data"
    pairs = zip(classes, prompts, strict=False)
    return next((f"a prompt of the class {name!r}" for name, own in pairs if any(_same(word, one) for one in own)), "")


def _shared(prompts: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int, str]]:
    """Indices of two classes with the same prompt, and that prompt."""
    owners: dict[str, int] = {}
    for second, own in enumerate(prompts):
        for word in own:
            first = owners.setdefault(_plain(word), second)
            if first != second:
                yield first, second, word


def _add_shared(faults: Faults, path: Path, word: str, rows: Sequence[tuple[str, int | None]]) -> None:
    """The fault that two classes, each with its line if it has one, have the same prompt."""
    told = [f"{name!r} (line {line})" if line else f"{name!r} (which has no row)" for name, line in rows]
    line = max(line or 0 for _, line in rows)
    what = f"the prompt {word!r} is that of two classes, {told[0]} and {told[1]}, so that nothing tells them apart"
    faults.add(path, line or None, what, "write other words for one of them")


def _plain(text: str) -> str:
    """A text without what makes no difference: case, hyphens and ``_``."""
    return readable(text.replace("-", " ")).casefold()


def _same(one: str, other: str) -> bool:
    """Whether two texts have the same words, each in the singular or the plural."""
    first, second = _forms(one), _forms(other)
    return len(first) == len(second) and all(a & b for a, b in zip(first, second, strict=True))


def _forms(text: str) -> list[frozenset[str]]:
    """Each word of a text but for articles, with what its singular may be: ``buses`` with ``buse`` and ``bus``."""
    words = _plain(text).split()
    return [frozenset(_singulars(word)) for word in words if word not in _ARTICLES or len(words) == 1]


def _singulars(word: str) -> Iterator[str]:
    yield word
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        yield word[:-1]
    if len(word) > 4 and word.endswith("ies"):
        yield f"{word[:-3]}y"
    if len(word) > 4 and word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        yield word[:-2]
    if len(word) > 4 and word.endswith("ves"):
        yield from (f"{word[:-3]}f", f"{word[:-3]}fe")


def _object(words: Sequence[frozenset[str]]) -> Sequence[frozenset[str]]:
    """The words of a text up to what is only around its object."""
    end = next((place for place, forms in enumerate(words) if place and forms & _BEHIND), len(words))
    return words[:end]


def _refuse(faults: Faults) -> None:
    errors = [str(fault) for fault in faults.errors]
    if errors:
        raise InputError(
            "\n".join([*errors[:SHOWN], *([f"... and {len(errors) - SHOWN} more"] * (len(errors) > SHOWN))])
        )


def _checked(where: str, prompts: Sequence[tuple[str, ...]], background: tuple[str, ...]) -> Prompts:
    if not background:
        raise InputError(
            f"{where}: expected words for the background, and all usual ones are words of the classes; write a row "
            f"'{ROW},WORDS' into prompts.csv with what else is around the objects"
        )
    return Prompts(tuple(prompts), background)
