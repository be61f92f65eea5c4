"""What a JSON record has to hold, as a value of the same form, and the first place where one differs.

A run folder is on the user's disk, where a record may be edited, merged or taken from an earlier version. Whoever reads
it says what it needs, and the user is told what is wrong where, instead of meeting a ``KeyError`` later.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from deft.artifacts.files import read_json
from deft.contracts import InputError
from deft.guards.words import shown

ANY = object()
"""Stands for any value."""
_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a finite number", type(None): "null"}
_LARGEST = 2**63


def read_expected(path: Path, form: Any, remedy: str) -> Any:
    """The content of a JSON file, checked.

    Args:
        path: the file.
        form: what it has to hold, as for :func:`difference`.
        remedy: what to do if it does not.

    Raises:
        InputError: the file cannot be read, is not JSON or holds something else.
    """
    value = read_json(path)
    if wrong := difference(value, form):
        raise InputError(f"{shown(path)}: {wrong}; {remedy}")
    return value


def difference(value: Any, form: Any, name: str = "") -> str:
    """How a value of JSON differs from what is expected; empty if it does not.

    Args:
        value: as ``json.loads`` returns it.
        form: a type, ``str``, ``bool``, ``int``, ``float`` (any finite number) or ``type(None)``; :data:`ANY`; a tuple
            of forms, one of which has to fit; a list of one form, for a list of any length, or of several, for a list
            of as many; ``{str: form}`` for an object with any names; ``{}`` for an empty one; or an object with names,
            of which those with a ``?`` at the end may be missing. Other entries are allowed.
        name: of the value, for the message.

    >>> difference({"miou": 0.5, "curve": [0.1, "x"]}, {"miou": float, "curve?": [float]})
    "expected 'curve.1' to be a finite number, got 'x'"
    """
    if form is ANY:
        return ""
    if isinstance(form, tuple):
        found = [difference(value, each, name) for each in form]
        return "" if "" in found else found[0]
    if isinstance(form, list):
        if not isinstance(value, list) or (len(form) > 1 and len(value) != len(form)):
            return _told(name, f"a list of {len(form)} values" if len(form) > 1 else "a list", value)
        forms = form if len(form) > 1 else form * len(value)
        parts = (difference(each, one, f"{name}.{at}") for at, (each, one) in enumerate(zip(value, forms, strict=True)))
        return next(filter(None, parts), "")
    if isinstance(form, dict):
        return _difference(value, form, name)
    return "" if _is(value, form) else _told(name, _WORDS[form], value)


def _difference(value: Any, form: dict[Any, Any], name: str) -> str:
    """:func:`difference` for an object."""
    if not isinstance(value, dict) or (value and not form):
        return _told(name, "an object" if form else "an empty object", value)
    if str in form:
        parts = (difference(each, form[str], f"{name}.{key}") for key, each in value.items())
        return next(filter(None, parts), "")
    for entry, each in form.items():
        key = entry.removesuffix("?")
        if key not in value:
            if key == entry:
                return f"expected an entry {f'{name}.{key}'.lstrip('.')!r}, found none"
        elif wrong := difference(value[key], each, f"{name}.{key}"):
            return wrong
    return ""


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return _is(value, int) or (isinstance(value, float) and math.isfinite(value))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST
    return isinstance(value, kind)


def _told(name: str, words: str, value: Any) -> str:
    place = repr(shown(name.lstrip("."))) if name else "its content"
    return f"expected {place} to be {words}, got {shown(str(value)[:60])!r}"
