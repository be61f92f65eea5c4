"""Names of backbones that a user may have meant: first those with the words of what was typed, then those spelt alike.

Papers and hubs write the same network in many ways, such as ``ViT-B/16`` or ``dinov2_vits14``: case and punctuation do
not count, letters stand for sizes, and a word may also be that of pretrained weights, such as ``mae``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

SHOWN = 5
"""Number of names that are told."""
_SIZES = {"ti": "tiny", "t": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge", "g": "giant"}
_COMMON = (("small", "base"), ("tiny",), (), ("large",), ("huge", "giant", "gigantic"))
"""Words for sizes, the most common ones first; the third place is that of a name without one."""
_ALIKE = 0.85
"""Similarity of a name with a misspelt letter or two."""


def nearest_names(name: str, known: Sequence[str], pretrained: Sequence[str], usual: Sequence[str]) -> list[str]:
    """The names nearest to one that is not known, the best first; none if nothing is like it.

    Args:
        name: what was typed.
        known: all names of architectures.
        pretrained: names with their tags, of which one is told if a word is only in tags.
        usual: names that come before others that fit as well.
    """
    wanted = _words(name)
    real = [one for one in known if not one.startswith("test_")]
    tagged = [one for one in pretrained if not one.startswith("test_")]
    order = _order(wanted, usual)
    base = name.partition(".")[0].casefold()
    found = sorted((one for one in real if _holds(one, wanted)), key=order)
    found += sorted((one for one in tagged if not found and _holds(one, wanted)), key=order)
    found += difflib.get_close_matches(base, real, n=SHOWN, cutoff=_ALIKE)
    if not found:
        main = max((word for word in wanted if word.isalpha()), key=len, default="")
        found = (
            sorted((one for one in real if _holds(one, [main])), key=_most_of(wanted, _order([main], usual)))
            if main
            else []
        )
    if not found:
        found = difflib.get_close_matches(base, real, n=SHOWN, cutoff=0.5)
    return list(dict.fromkeys(found))[:SHOWN]


def _words(name: str) -> list[str]:
    """Runs of letters, and of digits, in lower case: ``ViT-B/16`` is vit, b and 16; ``vits14`` is vit, s and 14."""
    apart = re.sub(r"(?<![a-z])vit([a-z]{1,2})(?=\d)", r"vit \1 ", name.casefold())
    return re.findall(r"[a-z]+|\d+", apart)


def _holds(name: str, wanted: Iterable[str]) -> bool:
    """Whether a name has all of some words; false for no word."""
    words = set(_words(name))
    wanted = list(wanted)
    return bool(wanted) and all(word in words or _SIZES.get(word) in words for word in wanted)


def _order(wanted: Sequence[str], usual: Sequence[str]) -> Callable[[str], tuple[bool, bool, int, int, str]]:
    """Key by which names are sorted.

    For a single word, usual ones come first; then those that begin with what was typed, those of a common size, and
    those with few other words.
    """
    first = set(usual) if len(wanted) == 1 else set[str]()

    def key(name: str) -> tuple[bool, bool, int, int, str]:
        words = _words(name)
        size = next((place for place, sizes in enumerate(_COMMON) if set(sizes) & set(words)), 2)
        return name not in first, words[:1] != list(wanted[:1]), size, len(words), name

    return key


def _most_of(wanted: Sequence[str], order: Callable[[str], tuple[object, ...]]) -> Callable[[str], tuple[Any, ...]]:
    """The same, behind how many of the words a name lacks."""
    return lambda name: (sum(not _holds(name, [word]) for word in wanted), *order(name))
