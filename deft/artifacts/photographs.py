"""Which photograph each image of a run was, ``RUN/images.json``: a name may belong to another photograph later.

A digest is of the bytes of one photograph, so that it is found again under another name. Datasets whose images share
files, such as Arrow files, or that are rendered, have no such digests: their images are known by their names alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deft.artifacts.contents import DIGITS
from deft.artifacts.files import read_json
from deft.contracts import InputError
from deft.guards.opening import exists

RECORD = "images.json"
_OF_ONE = re.compile(rf"[0-9a-f]{{{DIGITS}}}( as stored)?")
"""The digest of a photograph's file, and whether it is read without being turned, where EXIF would turn it."""


def recorded(run: Path) -> dict[str, str]:
    """Digest of each photograph that a run was made of, by name; without those that are not known."""
    return digests(stored(run))


def stored(run: Path) -> dict[str, Any]:
    """What a run was made of, ``train`` and ``val``; empty if that is not known."""
    try:
        content = read_json(run / RECORD) if exists(run / RECORD) else {}
    except InputError:
        return {}
    return content if isinstance(content, dict) else {}


def digests(parts: Mapping[str, Any]) -> dict[str, str]:
    """Digest of each photograph, by name; of two with one name that of the training image.

    Args:
        parts: ``train`` and ``val``, each as from :meth:`deft.data.fingerprints.Taught.to_json`.
    """
    found: dict[str, str] = {}
    for part in ("val", "train"):
        images = parts[part].get("images") if isinstance(parts.get(part), dict) else None
        for name, entry in images.items() if isinstance(images, dict) else ():
            found.pop(name, None)
            if isinstance(entry, list) and entry and isinstance(entry[0], str) and _OF_ONE.fullmatch(entry[0]):
                found[name] = entry[0]
    return found
