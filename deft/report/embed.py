"""Images embedded in the page: scaled down and encoded as data URIs, so that the page is a single file."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FLAT_COLOURS = 64
"""An image with at most this many colours is a mask, stored as PNG with nearest sampling; others are stored as JPEG."""


def picture_uri(picture: NDArray[np.uint8], width: int = 240) -> str:
    """An image as a data URI, at most ``width`` pixels wide and twice as high.

    Args:
        picture: RGB, uint8 (H, W, 3).
        width: maximum width in pixels; smaller images keep their size.

    Raises:
        ValueError: ``picture`` is not an RGB image with at least one pixel.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
        raise ValueError(f"expected an RGB image, uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    image = Image.fromarray(np.ascontiguousarray(picture))
    scale = min(1.0, width / image.width, 2 * width / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    stream = io.BytesIO()
    flat = image.resize(size, Image.Resampling.NEAREST)
    if flat.getcolors(FLAT_COLOURS) is not None:
        _indexed(np.asarray(flat)).save(stream, "PNG", optimize=True)
        return uri(stream.getvalue(), "image/png")
    image.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=82, optimize=True)
    return uri(stream.getvalue(), "image/jpeg")


def uri(content: bytes, kind: str) -> str:
    """The content of a file as a data URI with media type ``kind``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _indexed(picture: NDArray[np.uint8]) -> Image.Image:
    """The same image, losslessly, with a palette: a quarter of the size."""
    colours, index = np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True)
    image = Image.fromarray(index.reshape(picture.shape[:2]).astype(np.uint8))
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image
