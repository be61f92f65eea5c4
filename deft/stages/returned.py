"""Whether the maps that a seed method or a refiner returns are ones that the later stages can read."""

from __future__ import annotations

from typing import Any

from deft.contracts import InputError, Sample, SeedMaps
from deft.extend.members import can_take
from deft.seedmaps import STRIDE, grid

SLACK = 1e-2
"""By how much rounding may take a map out of 0 to 1."""


def check_maps(found: Any, sample: Sample, method: object) -> SeedMaps:
    """The maps, if they are sound.

    Args:
        found: what the method returned.
        sample: the image that they are of.
        method: whose maps they are, for the message.

    Raises:
        InputError: they are of another type, grid or range, or of other classes than a dataset has.
    """
    where = f"{type(method).__name__} on image {sample.name!r}"
    if not isinstance(found, SeedMaps):
        raise InputError(f"{where}: expected it to return deft.SeedMaps, got {type(found).__name__}")
    size = (sample.image.shape[0], sample.image.shape[1])
    classes, shape = found.classes, (len(found.classes), *grid(size))
    if tuple(found.size) != size:
        raise InputError(f"{where}: expected size {size}, (H, W) of the image, got {found.size}")
    if list(classes) != sorted(set(classes)) or any(not 0 <= k < len(sample.labels) for k in classes):
        raise InputError(f"{where}: expected rising class indices of 0 to {len(sample.labels) - 1}, got {classes}")
    if tuple(found.maps.shape) != shape:
        raise InputError(
            f"{where}: expected maps {shape}, one a class on a grid of stride {STRIDE}, got {tuple(found.maps.shape)}; "
            "resize them with torch.nn.functional.interpolate"
        )
    if found.maps.numel():
        low, high = (float(value) for value in found.maps.detach().aminmax())
        if not (low >= -SLACK and high <= 1 + SLACK):  # false for NaN, too
            raise InputError(
                f"{where}: expected maps in 0 to 1, got {low:.4g} to {high:.4g}; divide them by the maximum"
            )
    return found


def check_prepared(found: Any, takes: int, method: object) -> None:
    """Look at what a method prepared.

    Args:
        found: what it returned.
        takes: how many arguments it is going to be called with.
        method: whose it is, for the message.

    Raises:
        InputError: it is no function of so many arguments.
    """
    if not callable(found) or not can_take(found, takes):
        what = "image and its seeds" if takes == 2 else "image"
        came = f"one of other arguments, {found!r}" if callable(found) else repr(found)
        raise InputError(f"{type(method).__name__}.prepare: expected it to return a function of one {what}, got {came}")
