"""Names in messages and on pages: without characters that a terminal or a browser would obey."""

from __future__ import annotations

import os
import re
import unicodedata

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories that are escaped: control characters, marks that reorder text, halves of pairs, separators."""
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for tabs and line breaks, halves of pairs, and marks that turn text around."""


def shown(name: str | os.PathLike[str]) -> str:
    r"""A name on one line: control characters, line breaks and bytes that are not UTF-8 are escaped, as in ``\x1b``."""
    text = os.fspath(name)
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def printable(text: str) -> str:
    r"""A message of several lines for a terminal: all that :func:`shown` escapes, but for line breaks and tabs."""
    return "".join(letter if letter in "\n\t" else _visible(letter) for letter in text)


def harmless(text: str) -> str:
    """Text for a page or a table: what does harm there even after escaping is replaced by U+FFFD."""
    return _UNSAFE.sub("\ufffd", text)


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of an error that a library has raised, and the name of its class if it has no words."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:most]


def _visible(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    if unicodedata.category(letter) not in _UNSEEN:
        return letter
    return letter.encode("unicode_escape").decode()
