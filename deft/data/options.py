"""Options after a ``?``, as in ``coco:PATH?empty=drop,year=2017``."""

from __future__ import annotations

import re


def split_options(text: str) -> list[str]:
    """Split a text into its options, each ``name=value`` if well-formed.

    Options are separated by ``&`` or ``,`` followed by a name and a ``=``; other commas belong to a value.

    >>> split_options("root=photos/a,b&size=64,flip=true")
    ['root=photos/a,b', 'size=64', 'flip=true']
    """
    text = text.strip("&, ")
    return re.split(r"[&,](?=[A-Za-z_]\w*=)", text) if text else []
