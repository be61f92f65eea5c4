"""Which way up an image is stored: the rotation and mirroring that its EXIF data asks for."""

from __future__ import annotations

import struct

from PIL import Image

_TAG = 0x0112
"""EXIF's number of the orientation."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset(_TURNS[tag] for tag in (5, 6, 7, 8))


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright; None if it is, or if its metadata is damaged.

    Args:
        image: opened, decoded or not.
    """
    if image.format == "TIFF":  # already rotated by its decoder
        return None
    if image.format == "PNG" and "exif" not in image.info:  # asking would decode the whole file
        return None
    try:
        return _TURNS.get(int(image.getexif().get(_TAG, 1)))
    except (ValueError, TypeError, KeyError, SyntaxError, OSError, EOFError, struct.error):
        return None  # damaged metadata says nothing about the pixels


def turned(size: tuple[int, int], turn: Image.Transpose | None) -> tuple[int, int]:
    """(H, W) after a turn."""
    return size[::-1] if turn in _SIDEWAYS else size


def turn_for(orientation: int) -> Image.Transpose | None:
    """What makes an image of this EXIF orientation upright; None for 1, and for numbers that mean nothing."""
    return _TURNS.get(orientation)
