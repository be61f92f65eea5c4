"""Entries of a shard: the files of one key, a photograph and perhaps its tags, as undecoded bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from deft.contracts import InputError
from deft.data.images import SUFFIXES, Scaled, read_scaled
from deft.data.layouts.name_lists import class_name

_LOSSY = frozenset(("jpg", "jpeg", "jpe", "jfif", "webp", "heic", "heif", "avif"))


@dataclass(frozen=True)
class Entry:
    """The files of one key in a shard."""

    key: str
    """Path without suffix, up to the first dot of its last part."""
    files: Mapping[str, bytes | InputError]
    """Contents by suffix in lower case, without the first dot; an error instead of contents that cannot be read."""


def is_image(suffix: str) -> bool:
    """Whether files with this suffix are images: ``jpg``, but not ``seg.png``."""
    return "." + suffix in SUFFIXES


def image_of(entry: Entry, max_side: int | None = None) -> Scaled:
    """The photograph of an entry, as from :func:`deft.data.images.read_scaled`.

    If the key also has a mask, the photograph is the one in a lossy format.

    Raises:
        InputError: no image, several, one that cannot be decoded, or a key that points outside its folder.
    """
    key = entry.key
    if key.startswith("/") or "\\" in key or ".." in key.split("/") or any(ord(letter) < 32 for letter in key):
        raise InputError("expected a key that is a relative path, without '..' and control characters; rename it")
    images = sorted(filter(is_image, entry.files))
    lossy = [suffix for suffix in images if suffix in _LOSSY]
    chosen = lossy or images
    if len(chosen) != 1:
        came = " and ".join(chosen) if chosen else f"only {', '.join(sorted(entry.files))}" if entry.files else "none"
        raise InputError(f"expected one image, got {came}; keep one photograph for each key")
    content = entry.files[chosen[0]]
    if isinstance(content, InputError):
        raise content
    return read_scaled(content, max_side)


def tags_of(entry: Entry, suffix: str) -> tuple[str, ...] | None:
    """Tags of an entry.

    Args:
        entry: from :func:`read_shard`.
        suffix: suffix of the member with the tags: a list or ``{"tags": [...]}`` if it ends in ``json``, else one tag
            per line.

    Returns:
        Names of classes, without repetition; None if there is no such member.

    Raises:
        InputError: the member has other content.
    """
    content = entry.files.get(suffix)
    if content is None:
        return None
    if isinstance(content, InputError):
        raise content
    expected = f'expected {{"tags": ["cow", ...]}} in .{suffix}' if _is_json(suffix) else f"expected text in .{suffix}"
    try:
        text = content.decode("utf-8-sig")
        tags = json.loads(text) if _is_json(suffix) else text.splitlines()
    except (ValueError, RecursionError) as error:
        raise InputError(f"{expected}, got {type(error).__name__}: {str(error)[:80]}") from None
    if isinstance(tags, dict):
        tags = tags.get("tags")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InputError(f"{expected}, got {text[:60]!r}")
    return tuple(dict.fromkeys(class_name(tag) for tag in tags if tag.strip()))


def _is_json(suffix: str) -> bool:
    return suffix.rpartition(".")[2] == "json"
