"""Decoded images of every mode to RGB, and masks to their stored numbers, by the range of the format.

By default decoders lose information silently: 16-bit grey is clipped at 255, floats become black, 12 bits stay dark,
and a transparent value is compared with scaled pixels. Here each is converted by what its file says, or refused.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.contracts import InputError

_BITS, _PHOTOMETRIC, _EXTRA = 258, 262, 338
"""TIFF's tags of the bits of a value, of whether 0 is white, and of what bands beyond the colours are."""
_SCALES = {"L;2": 85, "L;4": 17}
"""Factor by which Pillow multiplies greys below 8 bits, by the layout of the file."""
_FEW = 16
"""Number of different opacities below which a picture may be translucent all over."""


def to_rgb(image: Image.Image, kind: str, layout: str, where: str) -> NDArray[np.uint8]:
    """RGB, uint8 (H, W, 3), of a decoded image; transparent pixels become white.

    Args:
        image: decoded.
        kind: Pillow's name of its format.
        layout: of :func:`layout_of`, before decoding.
        where: name of the file.

    Raises:
        InputError: its white is unknown, or its fourth band is no transparency.
    """
    if image.mode.startswith("I") or image.mode == "F":
        grey = _grey_to_uint8(image, kind, where)
        return np.repeat(grey[:, :, None], 3, axis=2)
    try:
        if image.has_transparency_data:
            image = _on_white(image, kind, layout, where)
        return np.array(image.convert("RGB"))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{where}: colours of mode {image.mode} cannot be converted ({error}); save it as RGB"
        ) from None


def mask_values(image: Image.Image, layout: str) -> NDArray[Any]:
    """The stored numbers of a mask, (H, W), which Pillow has scaled or inverted if they have fewer than 8 bits.

    Args:
        image: decoded, grey or palette.
        layout: of :func:`layout_of`, before decoding.
    """
    values: NDArray[Any] = np.array(image)
    plain = layout.removesuffix("R")  # the order of the bits in a byte
    if image.mode in ("L", "1") and plain.endswith("I"):
        values = ~values
    if maximum := re.fullmatch(r"ppm;(\d+)", layout):
        white = 65535 if image.mode.startswith("I") else 255
        return np.rint(values.astype(np.float64) * int(maximum[1]) / white).astype(np.int64)
    return values // np.uint8(_SCALES.get(plain.removesuffix("I"), 1)) if image.mode == "L" else values


def layout_of(image: Image.Image) -> str:
    """Pillow's name for how the pixels are stored, such as ``L;4``; ``ppm;15`` for a PGM whose white is 15."""
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        return ""
    codec, _, _, args = tiles[0]
    if codec.startswith("ppm"):
        return f"ppm;{args if isinstance(args, int) else args[-1]}"
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _on_white(image: Image.Image, kind: str, layout: str, where: str) -> Image.Image:
    """An image with transparent pixels on a white page."""
    value = image.info.get("transparency")
    if image.mode == "L" and isinstance(value, int):  # the value is stored as it is, the pixels were scaled
        image.info["transparency"] = value * _SCALES.get(layout, 1)
    elif image.mode == "RGB" and isinstance(value, tuple) and "16" in layout:
        raise InputError(
            f"{where}: 16-bit colours with one transparent colour cannot be converted; save it with 8 bits, or RGBA"
        )
    if kind == "TIFF" and _EXTRA not in getattr(image, "tag_v2", ()):  # Pillow takes any fourth band for transparency
        return Image.merge("RGB", image.split()[:3]) if len(image.getbands()) == 4 else image.getchannel(0)
    whole = image.convert("RGBA")
    if len(image.getbands()) in (2, 4):
        _refuse_infrared(whole, where)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), whole)


def _refuse_infrared(image: Image.Image, where: str) -> None:
    """Refuse a fourth band that varies like a picture: near infrared, marked as transparency."""
    counts = np.array(image.getchannel("A").histogram())
    between = counts[1:255]
    if between.sum() * 2 > counts.sum() and np.count_nonzero(between) >= _FEW:
        raise InputError(
            f"{where}: expected transparency in its last band, got values that vary like a picture, such as near "
            "infrared; save the bands red, green and blue alone"
        )


def _grey_to_uint8(image: Image.Image, kind: str, where: str) -> NDArray[np.uint8]:
    """Greys of more than 8 bits and floats to uint8 (H, W), by the range of the format, not of the image's values."""
    grey = np.asarray(image)
    low, high = (float(grey.min()), float(grey.max())) if grey.size else (0.0, 0.0)
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # written so that nan is refused as well
            raise InputError(
                f"{where}: expected floats in [0, 1], got {low:g} to {high:g}; "
                "divide by its white and save it as 8-bit or 16-bit"
            )
        scaled = grey.astype(np.float64) * 255
    elif image.mode == "I" and not (kind in ("PNG", "PPM") and low >= 0 and high <= 65535):
        raise InputError(
            f"{where}: expected 8-bit or 16-bit values, got 32-bit integers from {low:g} to {high:g}, which have no "
            "defined white; save it as 8-bit or 16-bit"
        )
    else:
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS, (16,))
        white = 2.0 ** (bits[0] if isinstance(bits, tuple) else bits) - 1
        scaled = grey.astype(np.float64) * (255 / white)
        if tags.get(_PHOTOMETRIC) == 0:
            scaled = 255 - scaled
    result = (scaled + 0.5).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        result[grey == clear] = 255
    return result
