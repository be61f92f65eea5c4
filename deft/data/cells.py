"""Single cells of a table: lists as programs write them, and the words that programs write for nothing."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from deft.data.invisible import visible

_NOTHING = frozenset(
    (
        *("", "nan", "-nan", "none", "null", "nil", "na", "n/a", "n.a.", "#n/a", "#n/a n/a", "#na", "<na>", "nat"),
        *("\\n", "-", "--", "---", "\u2010", "\u2012", "\u2013", "\u2014", "\u2212", ".", "undefined"),
        *("(none)", "(null)", "(empty)", "(blank)", "<none>", "<null>", "<empty>", "<blank>", "(nan)", "<nan>"),
        *("[]", "()", "{}", "set()", "frozenset()", "list()", "tuple()", "array([])", '""', "''"),
    )
)
_CALL = re.compile(r"(?:frozenset|set|list|tuple|array|np\.array)\((.*?)(?:,\s*dtype=[^()]*)?\)", re.DOTALL)
_PAIRS = {"[": "]", "{": "}", "(": ")"}
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_QUOTES = {"'": "'", "\u2018": "\u2019", "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb", "`": "`"}
_LONGEST = 100_000
"""Longer cells are not taken for lists, which keeps their reading cheap."""
_DEEPEST = 20
"""A list has at most this number of brackets of one kind more than entries: it is not nested deeply."""


class NotAList(ValueError):
    """A cell that begins like a list and cannot be read as one."""


def means_nothing(text: str) -> bool:
    """Whether a cell, or an entry of a list, is what programs write for nothing: empty, ``NaN``, ``n/a``, ``-``, ...

    >>> [means_nothing(text) for text in ("", " None", "N/A", "-", "cow")]
    [True, True, True, True, False]
    """
    return visible(text).casefold() in _NOTHING


def listed(cell: str) -> tuple[str, ...] | None:
    """Entries of a cell that is a list in JSON, Python, NumPy or a database's spelling; None if it is no such list.

    Args:
        cell: contents of a cell.

    Returns:
        The entries without those that mean nothing, in order; of an object such as ``{"choices": [...]}`` the entries
        in it; of ``{"cow": 1, "dog": 0}`` the names whose value is 1.

    Raises:
        NotAList: it begins with ``[`` or ``{`` and cannot be read.

    >>> listed("['cow', 'polar bear']"), listed("{cow,dog}"), listed("polar bear (cub)")
    (('cow', 'polar bear'), ('cow', 'dog'), None)
    """
    text = visible(cell)
    if call := _CALL.fullmatch(text):
        text = visible(call[1])
    if text[:1] not in _PAIRS:
        return None
    if not _closed_at_its_end(text):
        if text[0] == "(":
            return None
        raise NotAList(cell)
    found = _parsed(text)
    if found is None:
        if text[0] == "(" and "," not in text and not _QUOTED.search(text):
            return None  # a name in parentheses
        return tuple(_bare_entries(text))
    return tuple(entry for entry in map(visible, _strings(found, cell)) if not means_nothing(entry))


def unquoted(parts: Iterable[str]) -> list[str]:
    """The parts without their quotes if every one of them has some; else as they are."""
    cleaned = [visible(part) for part in parts]
    written = [part for part in cleaned if part]
    if written and all(len(part) > 2 and _QUOTES.get(part[0]) == part[-1] for part in written):
        return [part[1:-1] for part in written]
    return cleaned


def is_quoted(cell: str) -> bool:
    """Whether the cell is in quotes other than those of CSV, such as ``'cow, dog'``."""
    text = visible(cell)
    return len(text) > 2 and _QUOTES.get(text[0]) == text[-1]


def _closed_at_its_end(text: str) -> bool:
    """Whether the bracket that opens the text is closed by its last character; quoted text does not count."""
    depth, bare = 0, _QUOTED.sub(lambda found: "\0" * len(found[0]), text)
    if len(text) > _LONGEST or text[-1] != _PAIRS[text[0]]:
        return False
    bare = bare if bare[-1] == text[-1] else text
    for at, letter in enumerate(bare):
        depth += (letter == text[0]) - (letter == text[-1])
        if depth > _DEEPEST or (depth == 0 and at < len(bare) - 1):
            return False
    return depth == 0


def _parsed(text: str) -> Any:
    """What JSON or Python reads in the text; None if neither does."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if re.search(r"['\"]\s+['\"]", text):
        return None  # as NumPy prints arrays of strings; Python would join them
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on backslashes in names
            return ast.literal_eval(re.sub(r"\b(?:nan|null)\b(?=\s*[,\])}])", "None", text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _bare_entries(text: str) -> Iterator[str]:
    """Entries of ``{cow,dog}``, ``[cow; dog]`` or ``['cow' 'dog']``."""
    inside = text[1:-1]
    quoted = [single or double for single, double in _QUOTED.findall(inside)]
    outside = _QUOTED.sub("", inside)
    if quoted and not re.sub(r"[\s,;|]", "", outside):
        parts = quoted
    elif any(letter in inside for letter in "[]{}"):
        raise NotAList(text)
    else:
        parts = re.split(r"[,;|\n]", inside)
    for part in parts:
        if not means_nothing(part):
            yield visible(re.sub(r'^"(.*)"$', r"\1", unquoted([part])[0]))


def _strings(value: Any, cell: str) -> Iterator[str]:
    """All names in a parsed list."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        yield str(value)
    elif value != value:  # NaN
        return
    elif isinstance(value, (list, tuple, set, frozenset)):
        for entry in sorted(value, key=str) if isinstance(value, (set, frozenset)) else value:
            yield from _strings(entry, cell)
    elif isinstance(value, dict):
        yield from _names_in_object(value, cell)
    else:
        raise NotAList(cell)


def _names_in_object(value: dict[Any, Any], cell: str) -> Iterator[str]:
    """Names in ``{"choices": [...]}``, ``{"rectanglelabels": [...], "x": 3}``, ``{"name": "cow"}``, ``{"cow": 1}``."""
    for key in value:
        if re.fullmatch(r"\w*labels?|choices?|tags?|class(?:es)?|categor(?:y|ies)|names?", str(key), re.IGNORECASE):
            yield from _strings(value[key], cell)
            return
    if not value or any(number not in (0, 1) for number in value.values()):
        raise NotAList(cell)
    yield from (str(key) for key, number in value.items() if number)
