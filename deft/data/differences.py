"""How the images of a run differ from those it was begun with, in words that name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deft.data.faults import counted
from deft.data.fingerprints import Taught
from deft.guards.words import shown

SHOWN = 3
"""Most images that are named of each kind."""


def differences(before: Any, now: Taught) -> str:
    """What has changed, such as ``2 images changed (a, b), 1 is new (c)``; empty if nothing can be named.

    Args:
        before: from :meth:`Taught.to_json`; anything else, such as a damaged record, names nothing.
        now: what the split teaches now.
    """
    images = before.get("images") if isinstance(before, dict) else None
    if not isinstance(images, dict) or not all(_is_entry(entry) for entry in images.values()):
        return ""
    here = now.to_json()["images"]
    both = [name for name in here if name in images]
    classes = [str(name) for name in before["classes"]] if isinstance(before.get("classes"), list) else []
    parts = [
        _named([name for name in both if images[name][0] != here[name][0]], "changed", "changed"),
        _named([name for name in images if name not in here], "is missing", "are missing"),
        _named([name for name in here if name not in images], "is new", "are new"),
    ]
    if classes != list(now.classes):
        parts.append(f"classes are {listed(now.classes)} instead of {listed(classes)}")
    else:
        other = [name for name in both if list(images[name][1]) != list(here[name][1])]
        parts.append(_named(other, "has other tags", "have other tags"))
    if not any(parts) and list(images) != list(here):
        parts.append("images are in another order")
    return ", ".join(part for part in parts if part)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], list)


def _named(names: Sequence[str], one: str, many: str) -> str:
    if not names:
        return ""
    return f"{counted(len(names), 'image')} {one if len(names) == 1 else many} ({listed(names)})"


def listed(names: Sequence[str]) -> str:
    """The first of some names, on one line."""
    return ", ".join(shown(name) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
