"""PNGs of maps and masks, opened safely: regular files of at most so many pixels, whatever their header claims."""

from __future__ import annotations

import os
import struct
import zlib

from PIL import Image

from deft.guards.opening import UnreadableError, open_regular

MAX_PIXELS = 80_000_000
"""Largest image that is read, in pixels (240 MB decoded); the header of a small file can claim any size."""

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, zlib.error, struct.error)
"""Exceptions of Pillow for damaged files."""


def read_png(path: str | os.PathLike[str], decode: bool = True) -> Image.Image:
    """Decode a PNG, or read its header alone.

    Raises:
        UnreadableError: no regular file, no PNG, a damaged one, or one with too many pixels.
    """
    with open_regular(path) as file:
        try:
            image = Image.open(file, formats=("PNG",))
            if image.width * image.height > MAX_PIXELS:
                raise too_many(path, f"{image.width} x {image.height} pixels")
            if decode:
                image.load()
        except UnreadableError:
            raise
        except Image.DecompressionBombError:
            raise too_many(path, "far more") from None
        except _DAMAGE as error:
            raise UnreadableError(path, f"expected a PNG, got {error}", "write it again") from None
        return image


def too_many(path: str | os.PathLike[str], came: str) -> UnreadableError:
    """The error of an image with too many pixels."""
    what = f"expected at most {MAX_PIXELS // 1_000_000} million pixels, got {came}"
    return UnreadableError(path, what, "save it smaller")
