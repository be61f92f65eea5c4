"""A head on top of another: what it asks of its base, and which one is below all others."""

from __future__ import annotations

from typing import cast

from deft.contracts import InputError
from deft.engine.head import AllMapsHead, Head


def check_base(base: Head) -> None:
    """Refuse a base that needs all feature maps, or views of its own: it is only given the last feature map.

    Raises:
        InputError: it does.
    """
    if isinstance(base, AllMapsHead) or getattr(base, "own_views", False):
        raise InputError(
            "expected classifier.head.base to be a head of the last feature map, such as LinearHead(), got "
            f"{type(base).__name__}"
        )


def innermost(head: Head) -> tuple[Head, str]:
    """The head without others on top of it, and where it stands below ``head``: ``base``, or nothing.

    >>> from deft.classify.deft import DeftHead
    >>> from deft.classify.drs import DrsHead
    >>> innermost(DrsHead(base=DeftHead(maps=4)))[1], innermost(DeftHead())[1]
    ('.base', '')
    """
    place = ""
    while hasattr(base := getattr(head, "base", None), "build"):
        head, place = cast(Head, base), f"{place}.base"
    return head, place
