"""JPEGs decoded with libjpeg's warnings, which Pillow drops; the only module that imports simplejpeg.

A photograph that was cut and closed again, or lost bytes in its middle, decodes to a picture with a grey or shifted
rest. libjpeg notices, and says so in a warning alone. The pixels are those of Pillow, which uses the same library.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_COLOURS = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
"""simplejpeg's names of Pillow's modes."""


class DamagedError(ValueError):
    """libjpeg's words for what is wrong."""


def decoded(content: bytes, mode: str, least: tuple[int, int] = (0, 0)) -> NDArray[np.uint8] | None:
    """The pixels of a JPEG, (H, W, 3); None if they have to be decoded by Pillow, because it is no RGB image.

    Args:
        content: the file.
        mode: Pillow's name of the mode.
        least: (H, W); decode at the smallest of libjpeg's sizes, eighths of the whole, that covers it. (0, 0): all.

    Raises:
        DamagedError: the data is damaged.
    """
    try:
        import simplejpeg
    except ImportError:  # there is no wheel for every platform; damage is then noticed if decoding fails
        return None
    if mode not in _COLOURS:
        return None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            content, _COLOURS[mode], min_height=least[0], min_width=least[1], strict=True
        )
    except ValueError as error:
        reason = str(error).strip()
        if reason.startswith(("Corrupt JPEG data", "Premature end")):
            raise DamagedError(reason) from None
        return None  # a remark on its metadata, or what only Pillow reads or refuses
    return pixels if mode == "RGB" else None
