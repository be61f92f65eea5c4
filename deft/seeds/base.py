"""A method on the maps of another: what it asks of its base, and the epoch at which a trained head goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from deft.contracts import InputError, Sample, SeedMaps

AFTER = 1_000_000
"""Epoch that a head is told: all that begins late in a training (DEFT's swaps, SMA's ramp) has begun."""


class Base(Protocol):
    """A seed method that trains nothing, on whose maps another one builds."""

    @property
    def learning(self) -> object:
        """None."""

    def prepare(self, context: Any) -> Callable[[Sample], SeedMaps]:
        """Function that returns the maps of an image for its tags."""


def check_base(base: Base) -> None:
    """Refuse a base that trains something itself.

    Raises:
        InputError: it does.
    """
    if base.learning is not None:
        raise InputError(
            f"expected seeds.base to be a method that trains nothing itself, such as Cam, got {type(base).__name__}"
        )
