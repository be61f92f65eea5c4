"""Names of files in messages: on one line, and without characters that a terminal would obey."""

from __future__ import annotations

import os
import unicodedata

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories that are escaped: control characters, marks that reorder text, halves of pairs, separators."""


def shown(name: str | os.PathLike[str]) -> str:
    r"""A name on one line: control characters, line breaks and bytes that are not UTF-8 are escaped, as in ``\x1b``."""
    text = os.fspath(name)
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def printable(text: str) -> str:
    r"""A message of several lines for a terminal: all that :func:`shown` escapes, but for line breaks and tabs."""
    return "".join(letter if letter in "\n\t" else _visible(letter) for letter in text)


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
