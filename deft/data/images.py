"""Files to pixels: upright RGB for images, unchanged class values for masks, one clear error for anything else.

By default decoders lose information silently: 16-bit grey is clipped at 255, floats become black, EXIF rotation is
ignored. Here every mode is either converted by the range of its format or refused.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.contracts import InputError

MAX_PIXELS = 80_000_000
"""Largest image that is read, in pixels (240 MB decoded); the header of a small file can claim any size."""

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"),
        *(".heic", ".heif", ".avif"),
    )
)
"""Suffixes of images, in lower case. They include formats that cannot be read, so that these are reported."""

# Only formats that need no interpreter: EPS, for example, would start a PostScript program.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM")
_LOSSY = ("JPEG", "MPO")
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


def read_image(source: str | os.PathLike[str] | bytes, upright: bool = True) -> NDArray[np.uint8]:
    """Decode an image completely and convert it to upright RGB.

    Transparent pixels become white: their stored colour is arbitrary (often black), and the page behind a cut-out is
    usually white. The first frame of an animation is read. 16-bit grey is divided by 257; floats must be in [0, 1].

    Args:
        source: a path, or the bytes of an image file.
        upright: apply the EXIF rotation; False keeps the pixels as stored, to which COCO's polygons refer.

    Returns:
        RGB, uint8 (H, W, 3), a writable copy.

    Raises:
        InputError: the file is missing, damaged, truncated, larger than :data:`MAX_PIXELS`, or of a type without a
            defined white (32-bit integers, floats outside [0, 1]).
    """
    where = _where(source)
    with _opened(source) as image:
        _load(image, where)
        return _to_rgb(_upright(image) if upright else image, image.format or "", where)


def read_mask(source: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """Decode a mask; pixel values are class numbers, and the colours of a palette are ignored.

    Args:
        source: a path, or the bytes, of a lossless grey or palette image, usually PNG.

    Returns:
        uint8 (H, W): 0 background, k + 1 for class k, 255 ignore.

    Raises:
        InputError: the file cannot be decoded, is a colour image, or has values above 255.
    """
    where = _where(source)
    with _opened(source) as image:
        _refuse_as_mask(image, where)
        _load(image, where)
        values = np.array(_upright(image))
    if int(values.max(initial=0)) > 255 or int(values.min(initial=0)) < 0:
        raise InputError(
            f"{where}: expected mask values from 0 to 255, got {values.min()} to {values.max()}; "
            "renumber its classes 1, 2, ... and keep 255 for ignore"
        )
    return values.astype(np.uint8)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) of an upright image from its header; raises :class:`InputError` like :func:`read_image`."""
    with _opened(path) as image:
        return _upright_size(image)


class ImageSizes(NamedTuple):
    """Size of an image from its header, with and without EXIF rotation."""

    stored: tuple[int, int]
    """(H, W) of the pixels as stored."""
    upright: tuple[int, int]
    """(H, W) of the upright image."""
    turned: bool
    """Whether EXIF turns or mirrors it."""


def image_sizes(path: str | os.PathLike[str]) -> ImageSizes:
    """Both sizes of an image from its header; raises :class:`InputError` like :func:`read_image`."""
    with _opened(path) as image:
        return ImageSizes((image.height, image.width), _upright_size(image), _orientation(image) in _UPRIGHT)


def mask_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) of a mask from its header; raises :class:`InputError` if it cannot be a mask."""
    with _opened(path) as image:
        _refuse_as_mask(image, _where(path))
        return _upright_size(image)


def _where(source: str | os.PathLike[str] | bytes) -> str:
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else os.fspath(source)


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes) -> Iterator[Image.Image]:
    """Open an image and read its header; every failure becomes an InputError."""
    where = _where(source)
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise InputError(f"{where}: cannot be opened ({error.strerror}); check its path and permissions") from None
    with file:
        try:
            image = Image.open(file, formats=_FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise InputError(_too_large(where)) from None
        except Exception as error:  # the bytes may be hostile: any exception of a decoder means "not readable"
            if isinstance(error, MemoryError):
                raise
            if file.seek(0, os.SEEK_END) == 0:
                what = "the file is empty"
            else:
                what = "not an image in a supported format (JPEG, PNG, GIF, BMP, TIFF, WebP, PPM), or damaged"
            raise InputError(f"{where}: {what}; save it again as JPEG or PNG, or remove it") from None
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(_too_large(where, image.size))
            yield image


def _too_large(where: str, size: tuple[int, int] | None = None) -> str:
    came = f"{size[0]} x {size[1]} pixels" if size else "far more"
    return f"{where}: expected at most {MAX_PIXELS // 1_000_000} million pixels, got {came}; save it smaller"


def _load(image: Image.Image, where: str) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # see _opened
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{where}: damaged or truncated ({reason}); copy it again from its source, or remove it"
        ) from None


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # already rotated by its decoder
        return 1
    if image.format == "PNG" and "exif" not in image.info:  # asking would decode the whole file
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except (ValueError, TypeError, KeyError, SyntaxError, OSError, EOFError, struct.error):
        return 1  # damaged metadata says nothing about the pixels


def _upright(image: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    return image.size if _orientation(image) in _SIDEWAYS else (image.height, image.width)


def _refuse_as_mask(image: Image.Image, where: str) -> None:
    if image.format in _LOSSY:
        raise InputError(f"{where}: JPEG changes the class numbers of a mask; save it as PNG without conversion")
    if image.mode not in ("P", "L", "1", "I", "I;16", "I;16B", "I;16L", "I;16N"):
        raise InputError(
            f"{where}: expected a mask with one channel of class numbers (grey or palette), got a colour image "
            f"({image.mode}); save the numbers 0, 1, 2, ... themselves as a grey or palette PNG"
        )


def _to_rgb(image: Image.Image, kind: str, where: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        grey = _grey_to_uint8(np.asarray(image), image.mode, kind, where)
        return np.repeat(grey[:, :, None], 3, axis=2)
    try:
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise InputError(
            f"{where}: colours of mode {image.mode} cannot be converted ({error}); save it as RGB"
        ) from None


def _grey_to_uint8(grey: NDArray[np.generic], mode: str, kind: str, where: str) -> NDArray[np.uint8]:
    """16-bit and float grey (H, W) to uint8 by the range of the format, not the range of the image's values."""
    low, high = (float(grey.min()), float(grey.max())) if grey.size else (0.0, 0.0)
    if mode == "F":
        if not (low >= 0 and high <= 1):  # written so that nan is refused as well
            raise InputError(
                f"{where}: expected floats in [0, 1], got {low:g} to {high:g}; "
                "divide by its white and save it as 8-bit or 16-bit"
            )
        scaled = grey.astype(np.float64) * 255
    elif mode == "I" and not (kind in ("PNG", "PPM") and low >= 0 and high <= 65535):
        raise InputError(
            f"{where}: expected 8-bit or 16-bit values, got 32-bit integers from {low:g} to {high:g}, which have no "
            "defined white; save it as 8-bit or 16-bit"
        )
    else:
        scaled = grey.astype(np.float64) / 257
    return (scaled + 0.5).astype(np.uint8)
