"""A threshold as a setting: a number, or ``auto`` for one chosen from the maps."""

from __future__ import annotations

from typing import Literal

from deft.contracts import InputError

AUTO: Literal["auto"] = "auto"
"""Choose the threshold from the maps and the images, without masks (:mod:`deft.thresholds.criterion`)."""

Threshold = float | Literal["auto"]
"""A number in [0, 1), or :data:`AUTO`."""


def number(value: Threshold) -> float:
    """The threshold as a number.

    Raises:
        ValueError: it is ``auto``, and has not been chosen yet.

    >>> number(0.25)
    0.25
    >>> number(AUTO)
    Traceback (most recent call last):
    ValueError: expected a threshold as a number, got auto; call settled() with statistics of the maps first
    """
    if isinstance(value, str):
        raise ValueError("expected a threshold as a number, got auto; call settled() with statistics of the maps first")
    return value


def check_threshold(field: str, value: Threshold) -> None:
    """Refuse a threshold outside the sweep.

    Args:
        field: dotted name of the setting, for the message.
        value: value of the setting.

    Raises:
        InputError: it is neither ``auto`` nor one of 0.00, 0.01, ... 0.99, the thresholds of a sweep.
    """
    if value == AUTO:
        return
    if isinstance(value, str) or not 0 <= value < 1 or abs(value * 100 - round(value * 100)) > 1e-6:
        raise InputError(f"expected {field} to be auto or one of 0.00, 0.01, ... 0.99, got {value}")
