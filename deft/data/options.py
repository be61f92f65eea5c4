"""Options behind a ``?``, as in ``coco:PATH?empty=drop,year=2017``."""

from __future__ import annotations

import re


def split_options(text: str) -> list[str]:
    """Options, each ``name=value`` where it is written as it should be.

    They are parted by ``&`` or by ``,``, where a name and a ``=`` follow: a comma within a value stays in it.

    >>> split_options("root=photos/a,b&size=64,flip=true")
    ['root=photos/a,b', 'size=64', 'flip=true']
    """
    text = text.strip("&, ")
    return re.split(r"[&,](?=[A-Za-z_]\w*=)", text) if text else []
