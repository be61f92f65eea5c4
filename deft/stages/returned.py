"""Checks of the maps that a seed method or a refiner returns, before later stages use them."""

from __future__ import annotations

from typing import Any

from deft.contracts import InputError, Sample, SeedMaps
from deft.extend.members import can_take
from deft.seedmaps import STRIDE, grid

SLACK = 1e-2
"""Tolerance for maps outside 0 to 1 because of rounding."""


def check_maps(found: Any, sample: Sample, method: object) -> SeedMaps:
    """Check maps, and return them.

    Args:
        found: the object that the method returned.
        sample: the image of the maps.
        method: the method that made them, for the message.

    Raises:
        InputError: they have another type, grid or range, or classes that the dataset does not have.
    """
    where = f"{type(method).__name__} on image {sample.name!r}"
    if not isinstance(found, SeedMaps):
        raise InputError(f"{where}: expected it to return deft.SeedMaps, got {type(found).__name__}")
    size = (sample.image.shape[0], sample.image.shape[1])
    classes, shape = found.classes, (len(found.classes), *grid(size))
    if tuple(found.size) != size:
        raise InputError(f"{where}: expected size {size}, (H, W) of the image, got {found.size}")
    if list(classes) != sorted(set(classes)) or any(not 0 <= k < len(sample.labels) for k in classes):
        raise InputError(f"{where}: expected ascending class indices from 0 to {len(sample.labels) - 1}, got {classes}")
    if tuple(found.maps.shape) != shape:
        raise InputError(
            f"{where}: expected maps {shape}, one per class on a grid of stride {STRIDE}, got "
            f"{tuple(found.maps.shape)}; resize them with torch.nn.functional.interpolate"
        )
    if found.maps.numel():
        low, high = (float(value) for value in found.maps.detach().aminmax())
        if not (low >= -SLACK and high <= 1 + SLACK):  # false for NaN, too
            raise InputError(
                f"{where}: expected maps in 0 to 1, got {low:.4g} to {high:.4g}; divide them by the maximum"
            )
    return found


def check_prepared(found: Any, takes: int, method: object) -> None:
    """Check the function that a method's ``prepare`` returned.

    Args:
        found: the returned object.
        takes: number of arguments it will be called with.
        method: the method, for the message.

    Raises:
        InputError: it is not a function of this number of arguments.
    """
    if not callable(found) or not can_take(found, takes):
        what = "image and its seeds" if takes == 2 else "image"
        came = f"one with other arguments, {found!r}" if callable(found) else repr(found)
        raise InputError(f"{type(method).__name__}.prepare: expected it to return a function of one {what}, got {came}")
