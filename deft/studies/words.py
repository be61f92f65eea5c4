"""Text of users in Markdown: a class may be called anything."""

from __future__ import annotations

import re
import unicodedata

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!~^$-])")
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


def literal(text: str, limit: int = 80) -> str:
    """A user's text as Markdown that shows it as it is: no mark-up, no HTML, no link, on one line.

    Args:
        text: anything.
        limit: longer text is cut.
    """
    line = " ".join(text.split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    line = "".join("\ufffd" if unicodedata.category(one) in ("Cc", "Cs") or one in _TURNS else one for one in line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line) or "–"
