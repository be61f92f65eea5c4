"""Escaping of user text for Markdown: a class may have any name."""

from __future__ import annotations

import re

from deft.guards.words import harmless

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!~^$-])")


def escape_markdown(text: str, limit: int = 80) -> str:
    """Escape text so that Markdown shows it literally, on one line: no markup, no HTML, no links.

    Args:
        text: any text.
        limit: maximum number of characters; longer text is cut.
    """
    line = " ".join(text.split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    line = harmless(line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line) or "–"
