"""A head on top of another: what it asks of its base, and what it says about it."""

from __future__ import annotations

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


def swap_epoch_of(base: Head) -> int:
    """``swap_epoch`` of a DEFT base; 1 for others."""
    return int(getattr(base, "swap_epoch", 1))


def swaps_of(base: Head) -> bool:
    """Whether the base swaps anything."""
    return bool(getattr(base, "swaps", False))
