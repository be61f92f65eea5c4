"""Files to pixels: upright RGB for images, unchanged class values for masks, one clear error for anything else.

How each mode becomes RGB or class values says :mod:`deft.data.pixels`. Large photographs can be read scaled down: a
JPEG is then decoded at a half, a quarter or an eighth of its size, as far as that still covers the size wanted, and
resized to it. Such pixels differ a little from those of the whole photograph resized: JPEG's blocks are averaged in
their transform, and colours at the resolution at which they are stored.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.contracts import InputError
from deft.data import jpeg
from deft.data.pixels import layout_of, mask_values, to_rgb
from deft.data.png_notes import without_notes
from deft.data.room import room_for
from deft.data.scaling import FILTER, fitted, reduction, shrunk
from deft.data.upright import turn_of, turned
from deft.guards.opening import open_regular, read_most
from deft.guards.pictures import MAX_PIXELS, too_many
from deft.guards.words import shown

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib"),
        *(".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif", ".avif"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".tga", ".icb", ".vda", ".qoi", ".pcx"),
        *(".sgi", ".rgb", ".rgba", ".bw"),
    )
)
"""Suffixes of images, in lower case. They include formats that cannot be read, so that these are reported."""

# Only formats that need no interpreter: EPS, for example, would start a PostScript program. TGA, which begins with no
# mark of its own, is tried for files that are named so.
_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM"),
    *("AVIF", "JPEG2000", "QOI", "PCX", "SGI"),
)
KINDS = "JPEG, PNG, GIF, BMP, TIFF, WebP, PPM, AVIF, JPEG 2000, QOI, PCX, SGI, TGA, or HEIF with an extra"
"""The formats in words."""
_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
"""Brands of HEIF in the first bytes; AVIF has others."""
_LOSSY = ("JPEG", "MPO")
_LARGEST = 1024**3
"""Most bytes that are read of a file; the largest image has 240 MB without compression."""


class Scaled(NamedTuple):
    """A photograph as it was read."""

    pixels: NDArray[np.uint8]
    """RGB, uint8 (h, w, 3)."""
    size: tuple[int, int]
    """(H, W) of the photograph, from which the pixels may have been scaled down."""


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
    return read_scaled(source, None, upright).pixels


def read_scaled(source: str | os.PathLike[str] | bytes, max_side: int | None, upright: bool = True) -> Scaled:
    """:func:`read_image`, scaled down to a longer side of at most ``max_side``.

    The file is read to its end all the same, and damage is noticed. Equal files give equal pixels.

    Args:
        source: a path, or the bytes of an image file.
        max_side: in pixels; None, or a photograph that is not larger, leaves all pixels as they are.
        upright: apply the EXIF rotation.

    Raises:
        InputError: as :func:`read_image`.
    """
    where = _where(source)
    with _opened(source) as (image, content):
        kind, layout = image.format or "", layout_of(image)
        size = (image.height, image.width)
        wanted = fitted(size, max_side)
        by = reduction(size, wanted) if kind in _LOSSY and wanted != size else 1
        with room_for(size[0] * size[1] // by**2):
            pixels = _jpeg(image, content, where, by) if kind in _LOSSY else None
            if pixels is not None:
                turn = turn_of(image) if upright else None
                pixels = shrunk(pixels, max_side)
                pixels = pixels if turn is None else np.array(Image.fromarray(pixels).transpose(turn))
            else:
                if by > 1:
                    image.draft(image.mode, (max(1, size[1] // by), max(1, size[0] // by)))
                image = _load(image, content, where)
                turn = turn_of(image) if upright else None
                if wanted != size and image.mode in ("RGB", "L") and not image.has_transparency_data:
                    image = image.resize((wanted[1], wanted[0]), FILTER)  # before anything copies it
                image = image if turn is None else image.transpose(turn)
                pixels = shrunk(to_rgb(image, kind, layout, where), max_side)
        return Scaled(pixels, turned(size, turn))


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
    with _opened(source) as (image, content):
        _refuse_as_mask(image, where)
        layout, turn = layout_of(image), turn_of(image)
        with room_for(image.width * image.height):
            values = mask_values(_load(image, content, where), layout)
            if turn is not None:
                values = np.array(Image.fromarray(values).transpose(turn))
    if int(values.max(initial=0)) > 255 or int(values.min(initial=0)) < 0:
        raise InputError(
            f"{where}: expected mask values from 0 to 255, got {values.min()} to {values.max()}; "
            "renumber its classes 1, 2, ... and keep 255 for ignore"
        )
    return values.astype(np.uint8, copy=False)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) of an upright image from its header; raises :class:`InputError` like :func:`read_image`."""
    with _opened(path) as (image, _):
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
    with _opened(path) as (image, _):
        return ImageSizes((image.height, image.width), _upright_size(image), turn_of(image) is not None)


def turned_upright(mask: NDArray[np.uint8], path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """A mask (H, W) of the pixels of an image as stored, turned as EXIF turns the image.

    Raises:
        InputError: the image cannot be opened.
    """
    with _opened(path) as (image, _):
        turn = turn_of(image)
    return mask if turn is None else np.array(Image.fromarray(mask).transpose(turn))


def mask_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) of a mask from its header; raises :class:`InputError` if it cannot be a mask."""
    with _opened(path) as (image, _):
        _refuse_as_mask(image, _where(path))
        return _upright_size(image)


def _where(source: str | os.PathLike[str] | bytes) -> str:
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else shown(source)


class _Content:
    """The bytes of an opened file, read when they are needed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self) -> bytes:
        self._file.seek(0)
        return read_most(self._file, _LARGEST)


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes) -> Iterator[tuple[Image.Image, _Content]]:
    """Open an image and read its header; every failure becomes an InputError."""
    where = _where(source)
    with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
        content = _Content(file)
        try:
            image = _identified(file, content, where)
        except MemoryError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise too_many(where, "far more") from None
        except Exception as error:  # the bytes may be hostile: any exception of a decoder means "not readable"
            if isinstance(error, InputError):
                raise InputError(f"{where}: {error}") from None
            if file.seek(0, os.SEEK_END) == 0:
                what = "the file is empty"
            else:
                what = f"not an image in a supported format ({KINDS}), or damaged"
            raise InputError(f"{where}: {what}; save it again as JPEG or PNG, or remove it") from None
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise too_many(where, f"{image.width} x {image.height} pixels")
            yield image, content


def _identified(file: BinaryIO, content: _Content, where: str) -> Image.Image:
    """The image in a file, by its first bytes."""
    start = file.read(16)
    file.seek(0)
    formats = [*_FORMATS, "TGA"] if where.lower().endswith((".tga", ".icb", ".vda")) else list(_FORMATS)
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF:
        register_heif()
        formats.append("HEIF")
    Image.init()
    formats = [name for name in formats if name in Image.OPEN]  # AVIF is not in every Pillow
    try:
        return Image.open(file, formats=formats)
    except ValueError:  # a PNG with a long text, for one
        rest = without_notes(content.read())
        if rest is None:
            raise
        return Image.open(io.BytesIO(rest), formats=("PNG",))


def register_heif() -> None:
    """Let Pillow read HEIF.

    Raises:
        InputError: the package that can is not installed.
    """
    try:
        import pillow_heif
    except ImportError:
        raise InputError("HEIF is read by a package of its own; pip install 'deft-wsss[heif]'") from None
    pillow_heif.register_heif_opener()


def _load(image: Image.Image, content: _Content, where: str) -> Image.Image:
    """Decode all pixels, of a PNG without the texts that follow them if these are too long."""
    try:
        try:
            image.load()
        except ValueError:
            rest = without_notes(content.read()) if image.format == "PNG" else None
            if rest is None:
                raise
            image = Image.open(io.BytesIO(rest), formats=("PNG",))
            image.load()
    except MemoryError:
        raise
    except Exception as error:  # see _opened
        if "out of memory" in str(error):  # Pillow's words for it, in an OSError
            raise MemoryError(f"{where}: {error}") from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _damaged(where, reason) from None
    return image


def _jpeg(image: Image.Image, content: _Content, where: str, by: int) -> NDArray[np.uint8] | None:
    """The pixels of a JPEG at 1 / ``by`` of its size, decoded with libjpeg's warnings; None if Pillow has to."""
    size = (-(-image.height // by), -(-image.width // by))
    try:
        pixels = jpeg.decoded(content.read(), image.mode, size if by > 1 else (0, 0))
    except jpeg.DamagedError as error:
        raise _damaged(where, str(error)) from None
    return None if pixels is None or pixels.shape[:2] != size else pixels


def _damaged(where: str, reason: str) -> InputError:
    return InputError(f"{where}: damaged or truncated ({reason}); copy it again from its source, or remove it")


def _upright_size(image: Image.Image) -> tuple[int, int]:
    return turned((image.height, image.width), turn_of(image))


def _refuse_as_mask(image: Image.Image, where: str) -> None:
    if image.format in _LOSSY:
        raise InputError(f"{where}: JPEG changes the class numbers of a mask; save it as PNG without conversion")
    if image.mode not in ("P", "L", "1", "I", "I;16", "I;16B", "I;16L", "I;16N"):
        raise InputError(
            f"{where}: expected a mask with one channel of class numbers (grey or palette), got a colour image "
            f"({image.mode}); save the numbers 0, 1, 2, ... themselves as a grey or palette PNG"
        )
