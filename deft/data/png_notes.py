"""PNGs without texts and profiles: Pillow refuses those above a megabyte, and the pixels do not depend on them."""

from __future__ import annotations

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NOTES = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def without_notes(content: bytes) -> bytes | None:
    """The same PNG without chunks of text and colour profiles; None if it is no PNG or has none of them."""
    if not content.startswith(SIGNATURE):
        return None
    kept, at = [SIGNATURE], len(SIGNATURE)
    found = False
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] in _NOTES:
            found = True
        else:
            kept.append(content[at:end])
        at = end
    kept.append(content[at:])
    return b"".join(kept) if found else None
