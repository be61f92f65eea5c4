"""Photographs of any size, read in windows: what is in memory at a time does not grow with the photograph.

- A TIFF is read where a window needs it (:mod:`deft.data.raster`).
- Other photographs of up to 80 million pixels are decoded once, as everywhere else; at a fraction of their size if no
  more is wanted.
- A larger JPEG or PNG is decoded once too, strip by strip, into a temporary file of 3 bytes a pixel.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from deft.contracts import InputError
from deft.data.images import read_scaled
from deft.data.raster import Channels, Raster, decode_strips, opened_raster
from deft.data.scaling import FILTER
from deft.data.upright import turn_for, turn_of, turned
from deft.guards.opening import open_regular
from deft.guards.pictures import MAX_PIXELS
from deft.guards.words import shown

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF, and of a BigTIFF."""
_ORIENTATION = 274
_READ = 8_000_000
"""Pixels that are read at a time where they are averaged."""
_LARGEST = 2_000_000_000
"""Most pixels of a JPEG or PNG; its temporary file has 6 GB."""
_SUPPORT = 2.0
"""Pixels to either side that the filter of the resizing looks at, of the coarser image."""


class Windows(Protocol):
    """A photograph, upright."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""

    def window(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """RGB, uint8 (rows, columns, 3), of a part that lies inside."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """A photograph that was decoded."""

    pixels: NDArray[np.uint8]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def window(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """RGB, uint8 (rows, columns, 3)."""
        return self.pixels[rows, columns]


@dataclass(frozen=True)
class OnDisk:
    """A photograph that was decoded into a file: RGB, row by row."""

    file: BinaryIO
    size: tuple[int, int]

    def window(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """RGB, uint8 (rows, columns, 3)."""
        height, width = rows.stop - rows.start, columns.stop - columns.start
        found = np.empty((height, width, 3), dtype=np.uint8)
        for row in range(height):
            self.file.seek(3 * ((rows.start + row) * self.size[1] + columns.start))
            found[row] = np.frombuffer(self.file.read(3 * width), dtype=np.uint8).reshape(width, 3)
        return found


@dataclass(frozen=True)
class Turned:
    """A photograph that is stored turned or mirrored, upright."""

    stored: Windows
    turn: Image.Transpose

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return turned(self.stored.size, self.turn)

    def window(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """RGB, uint8 (rows, columns, 3)."""
        transposed, down, across = _STEPS[self.turn]
        height, width = self.size
        rows = slice(height - rows.stop, height - rows.start) if down else rows
        columns = slice(width - columns.stop, width - columns.start) if across else columns
        found = (
            self.stored.window(columns, rows).transpose(1, 0, 2) if transposed else self.stored.window(rows, columns)
        )
        return np.ascontiguousarray(found[:: -1 if down else 1, :: -1 if across else 1])


_STEPS = {
    Image.Transpose.FLIP_LEFT_RIGHT: (False, False, True),
    Image.Transpose.ROTATE_180: (False, True, True),
    Image.Transpose.FLIP_TOP_BOTTOM: (False, True, False),
    Image.Transpose.TRANSPOSE: (True, False, False),
    Image.Transpose.ROTATE_270: (True, False, True),
    Image.Transpose.TRANSVERSE: (True, True, True),
    Image.Transpose.ROTATE_90: (True, True, False),
}
"""Each turn as a transposition, then a reversal of the rows, then of the columns."""


@dataclass(frozen=True)
class Photograph:
    """A photograph that was opened by :func:`opened`."""

    windows: Windows
    size: tuple[int, int]
    """(H, W); ``windows`` may have a fraction of it."""
    raster: Raster | None = None
    """If it is a TIFF that is stored upright."""
    is_large: bool = False
    """Whether its mask is written in windows, too."""

    def view(self, size: tuple[int, int], rows: slice, columns: slice) -> NDArray[np.uint8]:
        """A window of the photograph scaled to (h, w), RGB, uint8 (rows, columns, 3)."""
        return scaled_window(self.windows, size, rows, columns)


@contextmanager
def opened(path: Path, fraction: float = 1.0, channels: Channels | None = None) -> Iterator[Photograph]:
    """Open a photograph to be read in windows.

    Args:
        path: the file.
        fraction: the largest fraction of its resolution at which it will be looked at.
        channels: bands and range of a TIFF.

    Raises:
        InputError: it cannot be read, or the extra that reads it is not installed.
    """
    if is_tiff(path):
        with opened_raster(path, channels or Channels()) as raster:
            turn = _stored_turn(path)
            if turn is not None and raster.is_placed:
                raise InputError(
                    f"{shown(path)}: it has a place on the map, and is stored turned (its tag Orientation); write it "
                    "again without that tag"
                )
            windows: Windows = raster if turn is None else Turned(raster, turn)
            yield Photograph(windows, windows.size, raster if turn is None else None, is_large=True)
        return
    found = _header(path)
    if found is None or found[0][0] * found[0][1] <= MAX_PIXELS:
        side = None if found is None or fraction >= 1 else max(1, round(max(found[0]) * fraction))
        read = read_scaled(path, side)
        yield Photograph(InMemory(read.pixels), read.size)
        return
    size, kind, turn = found
    if size[0] * size[1] > _LARGEST:
        raise InputError(
            f"{shown(path)}: expected at most {_LARGEST / 1e9:g} billion pixels, got {size[1]} x {size[0]}; save it as "
            "a tiled TIFF"
        )
    with tempfile.TemporaryFile() as file:
        decode_strips(path, kind, file)
        file.flush()
        stored = OnDisk(file, size)
        windows = stored if turn is None else Turned(stored, turn)
        yield Photograph(windows, windows.size, is_large=True)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does."""
    with open_regular(path) as file:
        return file.read(4) in _TIFF


def is_large(path: Path) -> bool:
    """Whether the mask of a photograph is written in windows: it is a TIFF, or has more than 80 million pixels.

    Raises:
        InputError: the file cannot be opened.
    """
    found = _header(path)
    return is_tiff(path) or (found is not None and found[0][0] * found[0][1] > MAX_PIXELS)


def scaled_window(source: Windows, size: tuple[int, int], rows: slice, columns: slice) -> NDArray[np.uint8]:
    """A window of a photograph scaled to (h, w): the pixels that scaling all of it would give there.

    Where a side becomes less than half as long, blocks of pixels are averaged first.

    Args:
        source: the photograph.
        size: (h, w) of all of it.
        rows: of the scaled photograph.
        columns: of the scaled photograph.

    Returns:
        RGB, uint8 (rows, columns, 3).
    """
    if source.size == size:
        return source.window(rows, columns)
    ratios = [full / own for full, own in zip(source.size, size, strict=True)]
    by = max(1, int(min(ratios) / 2))
    parts, box = [], []
    for part, ratio, full in zip((rows, columns), ratios, source.size, strict=True):
        margin = _SUPPORT * max(1.0, ratio) + 2 * by
        start = max(0, math.floor(part.start * ratio - margin) // by * by)
        stop = min(full, math.ceil(-(-(part.stop * ratio + margin) // by)) * by)
        parts.append(slice(start, stop))
        box.append([(part.start * ratio - start) / by, (part.stop * ratio - start) / by])
    image = _averaged(source, parts[0], parts[1], by)
    (top, bottom), (left, right) = box
    wanted = (columns.stop - columns.start, rows.stop - rows.start)
    inside = (left, top, min(right, image.width), min(bottom, image.height))
    return np.array(image.resize(wanted, FILTER, box=inside))


def _averaged(source: Windows, rows: slice, columns: slice, by: int) -> Image.Image:
    """A window in which blocks of ``by`` x ``by`` pixels are one, read some rows at a time."""
    if by == 1:
        return Image.fromarray(source.window(rows, columns))
    step = max(1, _READ // ((columns.stop - columns.start) * by)) * by
    found = [
        np.asarray(Image.fromarray(source.window(slice(top, min(top + step, rows.stop)), columns)).reduce(by))
        for top in range(rows.start, rows.stop, step)
    ]
    return Image.fromarray(np.concatenate(found))


def _header(path: Path) -> tuple[tuple[int, int], str, Image.Transpose | None] | None:
    """Size, format and turn of a JPEG or PNG; None for other files, and for damaged ones.

    Pillow's function for files of any format refuses what has too many pixels, its classes of one format do not.
    """
    with open_regular(path) as file:
        start = file.read(8)
        file.seek(0)
        kinds = {b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile, b"\x89PN": PngImagePlugin.PngImageFile}
        kind = kinds.get(start[:3])
        if kind is None:
            return None
        try:
            with kind(file) as image:
                return (image.height, image.width), str(kind.format), turn_of(image)
        except Exception:  # of a damaged header; its reader will say so
            return None


def _stored_turn(path: Path) -> Image.Transpose | None:
    """What makes a TIFF upright."""
    with open_regular(path) as file:
        try:
            with TiffImagePlugin.TiffImageFile(file) as image:
                return turn_for(int(image.tag_v2.get(_ORIENTATION, 1)))
        except Exception:  # a layout that Pillow does not know says nothing about the pixels
            return None
