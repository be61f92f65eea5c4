"""A threshold as a setting: a number, or ``auto`` for one that is chosen from the maps."""

from __future__ import annotations

from typing import Literal

from deft.contracts import InputError

AUTO: Literal["auto"] = "auto"
"""Choose the threshold from the maps and the photographs, without masks (:mod:`deft.thresholds.criterion`)."""

Threshold = float | Literal["auto"]
"""A number in [0, 1), or :data:`AUTO`."""


def number(value: Threshold) -> float:
    """The number that a threshold is by now.

    Raises:
        ValueError: it is still ``auto``: it has to be chosen before maps are cut.

    >>> number(0.25)
    0.25
    >>> number(AUTO)
    Traceback (most recent call last):
    ValueError: a threshold that is auto must be chosen first: call settled() with statistics of the maps
    """
    if isinstance(value, str):
        raise ValueError("a threshold that is auto must be chosen first: call settled() with statistics of the maps")
    return value


def check_threshold(field: str, value: Threshold) -> None:
    """Refuse a threshold that no map can be cut at.

    Args:
        field: dotted name of the setting, for the message.
        value: what it is set to.

    Raises:
        InputError: neither ``auto`` nor one of 0.00, 0.01, ... 0.99, the thresholds that are swept.
    """
    if value == AUTO:
        return
    if isinstance(value, str) or not 0 <= value < 1 or abs(value * 100 - round(value * 100)) > 1e-6:
        raise InputError(f"{field} must be auto, or one of 0.00, 0.01, ... 0.99, got {value}")
