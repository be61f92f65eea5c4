"""Values in the exports of other tools, which write numbers as text, ids as floats and ``NaN`` for nothing."""

from __future__ import annotations

import math
import re
import reprlib
from typing import Any

from deft.data.layouts.name_lists import class_name

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 60, 60
_NOTHING = frozenset(("", "nan", "none", "null"))
_FLAGS = {"0": False, "1": True, "false": False, "true": True, "no": False, "yes": True, "n": False, "y": True}
_LARGEST = 2**63
"""No size, index or number of a class is larger; a product of larger ones may be no float, or no array's."""
_INTEGER = re.compile(r"(0|-?[1-9]\d{0,30})(\.0*)?")


def is_nothing(value: Any) -> bool:
    """Whether a value stands for a missing one: None, NaN, blank text, or text such as ``NaN``."""
    if isinstance(value, str):
        return value.strip().casefold() in _NOTHING
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: Any) -> float | None:
    """A finite number, also one written as text; None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole_number(value: Any) -> int | None:
    """An integer of 64 bits, also one written as ``3.0`` or as text; None if it is not one."""
    if not isinstance(value, int) or isinstance(value, bool):
        found = number(value)
        value = int(found) if found is not None and found.is_integer() else None
    return value if value is not None and abs(value) < _LARGEST else None


def flag(value: Any) -> bool | None:
    """A truth value: true, 1, ``"yes"``, ...; nothing means no; None if it is neither true nor false.

    >>> flag("no"), flag(1.0), flag(float("nan")), flag("perhaps")
    (False, True, False, None)
    """
    if is_nothing(value):
        return False
    if isinstance(value, str) and value.strip().casefold() in _FLAGS:
        return _FLAGS[value.strip().casefold()]
    if isinstance(value, bool):
        return value
    found = number(value)
    return bool(found) if found in (0, 1) else None


def identifier(value: Any) -> str | None:
    """An id as text, equal for ``7``, ``7.0`` and ``"7"``; None if it is nothing or neither number nor text.

    >>> identifier(7.0), identifier(" 7 "), identifier("007"), identifier(None)
    ('7', '7', '007', None)
    """
    if isinstance(value, bool) or is_nothing(value):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return f"{value:#x}" if value.bit_length() > 4000 else str(value)  # Python refuses to print longer ones
    if not isinstance(value, str):
        return None
    text = value.strip()
    found = _INTEGER.fullmatch(text)
    return found[1] if found else text


def id_order(text: str) -> tuple[bool, int, str]:
    """Key to sort ids by: integers by their value, then all others as text."""
    found = _INTEGER.fullmatch(text)
    return (False, int(found[1]), "") if found else (True, 0, text)


def class_of(value: Any) -> str | None:
    """A class name; None if the value is nothing, or no text that can be printed. Whole numbers are names too."""
    if is_nothing(value):
        return None
    if not isinstance(value, str):
        whole = whole_number(value)
        return None if whole is None else identifier(whole)
    name = class_name(value)
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as "\ud83d" in JSON
        return None
    return name if name.isprintable() else None


def short(value: Any) -> str:
    """A value for a message, shortened."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "a very large number"
    text = _SHORT.repr(value).encode("ascii", "backslashreplace").decode()  # the whole of a list may have no end
    return text if len(text) <= 60 else f"{text[:57]}..."
