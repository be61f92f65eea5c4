"""The options of ``deft predict`` in tiles, from their text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deft.contracts import InputError
from deft.data.raster import Channels
from deft.ranges import RangeError
from deft.segment.tiles import Tiles

AUTO = "auto"
_LONGEST = 40


def tiles_of(size: str, scale: str | None = None, context: str | None = None) -> Tiles:
    """Settings of tiles.

    Args:
        size: ``auto``, ``SIZE`` or ``SIZE,OVERLAP``; without an overlap a quarter of the size.
        scale: fraction of the resolution, above 0 and at most 4.
        context: ``photograph`` or ``tile``.

    Raises:
        InputError: an option is out of its range; the message names it.
    """
    tiles = Tiles()
    if size != AUTO:
        numbers = _numbers("--tiles", size, int, (1, 2), "auto, or one or two whole numbers: SIZE or SIZE,OVERLAP")
        side, overlap = numbers[0], numbers[-1] if len(numbers) == 2 else numbers[0] // 4
        tiles = _checked("--tiles", size, size=side, overlap=overlap)
    if scale is not None:
        (fraction,) = _numbers("--scale", scale, float, (1,), "a number above 0 to 4")
        tiles = _checked("--scale", scale, tiles, scale=fraction)
    return tiles if context is None else _checked("--context", context, tiles, context=context)


def channels_of(bands: str | None, values: str | None) -> Channels:
    """Bands and range of TIFFs.

    Args:
        bands: ``R,G,B`` or one number, counted from 1.
        values: ``LOW,HIGH``.

    Raises:
        InputError: as for :func:`tiles_of`.
    """
    chosen = (
        () if bands is None else _numbers("--bands", bands, int, (1, 3), "one or three whole numbers, such as 1,2,3")
    )
    ends = None if values is None else _numbers("--values", values, float, (2,), "two numbers, such as 0,65535")
    return Channels(tuple(chosen), None if ends is None else (ends[0], ends[1]))


def _checked(option: str, text: str, tiles: Tiles | None = None, **fields: Any) -> Tiles:
    try:
        return replace(tiles or Tiles(), **fields)
    except RangeError as error:
        raise InputError(f"{option} {text[:_LONGEST]}: {error.reason}") from None
    except InputError as error:
        raise InputError(f"{option} {text[:_LONGEST]}: {error}") from None


def _numbers(option: str, text: str, kind: type, counts: tuple[int, ...], expected: str) -> list[Any]:
    """Numbers separated by commas."""
    try:
        found = [kind(part.strip()) for part in text.split(",")] if text.isascii() and len(text) <= _LONGEST else []
    except ValueError:
        found = []
    if len(found) not in counts:
        raise InputError(f"{option} {text[:_LONGEST]}: expected {expected}")
    return found
