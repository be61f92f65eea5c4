"""Photographs scaled down to a bounded side: the size they get, and resizing of images and masks.

The filter is Pillow's bicubic one, which averages when it shrinks; its arithmetic is in integers, the same on every
machine. Masks take the value under the centre of each new pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_SIDE = 1024
"""Longer side at which photographs are read, in pixels, unless it is set."""
FILTER = Image.Resampling.BICUBIC
_NARROW = 64


def fitted(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """(H, W) at which a photograph is read: its longer side is at most ``max_side``, the other at least 1.

    Args:
        size: (H, W) of the photograph.
        max_side: in pixels; None leaves every size as it is.

    >>> fitted((4000, 6000), 1024), fitted((480, 640), 1024), fitted((1, 3000), 256)
    ((683, 1024), (480, 640), (1, 256))
    """
    longer = max(size)
    if max_side is None or longer <= max_side:
        return size
    # Half a pixel is rounded up, in integers: the same everywhere.
    height, width = (max(1, (2 * side * max_side + longer) // (2 * longer)) for side in size)
    return height, width


def reduction(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """The largest of 8, 4, 2 and 1 by which a photograph can be divided and still cover ``wanted``.

    It is 1 for narrow images, which take little memory: their last cell would be mostly the padding of JPEG's blocks.

    Args:
        size: (H, W) of the photograph.
        wanted: (H, W), not larger.
    """
    if min(size) < _NARROW:
        return 1
    (height, width), (rows, columns) = size, wanted
    return next(by for by in (8, 4, 2, 1) if -(-height // by) >= rows and -(-width // by) >= columns)


def shrunk(image: NDArray[np.uint8], max_side: int | None) -> NDArray[np.uint8]:
    """An image (H, W, 3) of at most ``max_side``; the same array if it fits already."""
    height, width = fitted((image.shape[0], image.shape[1]), max_side)
    if (height, width) == image.shape[:2]:
        return image
    return np.array(Image.fromarray(image).resize((width, height), FILTER))


def resized_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask resized to (H, W): the value under the centre of each new pixel; the same array if it has that size."""
    if mask.shape == size:
        return mask
    rows, columns = (
        (2 * np.arange(new, dtype=np.intp) + 1) * old // (2 * new) for new, old in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]
