"""Characters that nobody sees and that make equal names different: zero-width ones, marks of direction, odd spaces."""

from __future__ import annotations

import re
import unicodedata

_NOTHING = re.compile("[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb]")
_JOINERS = "\u200c\u200d"
"""They matter within words of Persian, Indian languages and emoji, but not at their ends."""
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def visible(text: str) -> str:
    r"""The text without invisible characters and surrounding spaces, every space a plain one, accents composed.

    >>> visible("\ufeffpolar\u00a0bear\u200b ")
    'polar bear'
    """
    if text.isascii():
        return text.strip()
    text = _SPACES.sub(" ", _NOTHING.sub("", text))
    return unicodedata.normalize("NFC", text.strip().strip(_JOINERS).strip())
