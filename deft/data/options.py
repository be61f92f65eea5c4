"""Options after a ``?``, as in ``coco:PATH?empty=drop,year=2017``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from deft.contracts import InputError


def split_options(text: str) -> list[str]:
    """Split a text into its options, each ``name=value`` if well-formed.

    Options are separated by ``&`` or ``,`` followed by a name and a ``=``; other commas belong to a value.

    >>> split_options("root=photos/a,b&size=64,flip=true")
    ['root=photos/a,b', 'size=64', 'flip=true']
    """
    text = text.strip("&, ")
    return re.split(r"[&,](?=[A-Za-z_]\w*=)", text) if text else []


def chosen_options(text: str, known: Mapping[str, Sequence[str]], kind: str) -> dict[str, str]:
    """Options that are chosen from a few values each.

    Args:
        text: the text after ``?``.
        known: the values of each option.
        kind: the kind of data, for the message.

    Raises:
        InputError: an option or its value is unknown.

    >>> chosen_options("empty=drop", {"empty": ("keep", "drop")}, "coco")
    {'empty': 'drop'}
    """
    chosen = {}
    for option in split_options(text):
        name, _, value = option.partition("=")
        if value not in known.get(name, ()):
            allowed = [f"{each}={one}" for each, values in known.items() for one in values]
            words = f"{', '.join(allowed[:-1])} or {allowed[-1]}" if allowed else "no options"
            raise InputError(f"{kind}:PATH?{text}: expected {words}; correct or remove it")
        chosen[name] = value
    return chosen
