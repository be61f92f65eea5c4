"""Escaping of user text for Markdown: a class may have any name."""

from __future__ import annotations

import re
import unicodedata

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!~^$-])")
_DIRECTION_MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


def escape_markdown(text: str, limit: int = 80) -> str:
    """Escape text so that Markdown shows it literally, on one line: no markup, no HTML, no links.

    Args:
        text: any text.
        limit: maximum number of characters; longer text is cut.
    """
    line = " ".join(text.split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    line = "".join(
        "\ufffd" if unicodedata.category(one) in ("Cc", "Cs") or one in _DIRECTION_MARKS else one for one in line
    )
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line) or "–"
