"""Photographs and masks in every format, whole and damaged, also with check sums that fit the damage."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from deft.data.images import image_sizes, mask_size, read_image, read_mask, register_heif
from fuzz.damage import damaged, either, sometimes_damaged, with_right_sums
from fuzz.reader import Reader

_SIZE = (9, 7)


@cache
def picture(kind: str = "PNG", mode: str = "RGB", seed: int = 0) -> bytes:
    """A picture of 9 x 7 pixels."""
    values = np.random.default_rng(seed).integers(0, 256, (_SIZE[1], _SIZE[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@cache
def mask(palette: bool = True, highest: int = 2) -> bytes:
    """A mask of 9 x 7 pixels with the values 0 to ``highest``, and 255."""
    values = (np.arange(_SIZE[0] * _SIZE[1]).reshape(_SIZE[1], _SIZE[0]) % (highest + 1)).astype(np.uint8)
    values[0, 0] = 255
    image = Image.fromarray(values)
    if palette:
        image.putpalette(list(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _photographs() -> Iterator[bytes]:
    """Pictures of every format and mode that is read."""
    modes = {
        "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
        "JPEG": ("RGB", "L", "CMYK"),
        "GIF": ("P",),
        "BMP": ("RGB", "P", "1"),
        "TIFF": ("RGB", "L", "CMYK", "LAB", "F", "I", "I;16", "1"),
        "WEBP": ("RGB", "RGBA"),
        "PPM": ("RGB", "L", "1"),
        "PCX": ("RGB", "P"),
        "SGI": ("RGB",),
        "JPEG2000": ("RGB", "L"),
        "QOI": ("RGB", "RGBA"),
        "AVIF": ("RGB",),
        "HEIF": ("RGB",),
    }
    register_heif()
    Image.init()
    grey = Image.fromarray((np.arange(63, dtype=np.uint16) * 1000).reshape(7, 9))
    for kind, names in modes.items():
        if kind in Image.SAVE:
            for mode in names:
                yield _saved(grey, kind) if mode == "I;16" else picture(kind, mode)
    image = Image.open(io.BytesIO(picture()))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text"
    yield from (_saved(image, kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF"))
    yield _saved(image, "JPEG", progressive=True)
    yield from (
        _saved(image, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate")
    )
    frames = [image.convert("P"), image.rotate(180).convert("P")]
    yield from (_saved(frames[0], kind, save_all=True, append_images=frames[1:]) for kind in ("GIF", "PNG", "TIFF"))
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "x" * 3000, zip=True)
    yield _saved(image, "PNG", pnginfo=notes, transparency=(1, 2, 3), icc_profile=b"p" * 200)


@cache
def _photograph(index: int) -> bytes:
    return _all()[index]


@cache
def _all() -> list[bytes]:
    return list(_photographs())


def _look(path: Path) -> None:
    image_sizes(path)
    for upright in (True, False):
        pixels = read_image(path, upright)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise AssertionError(f"pixels {pixels.shape} of {pixels.dtype}")


def _look_at_mask(path: Path) -> None:
    size, values = mask_size(path), read_mask(path)
    if values.shape != size or values.dtype != np.uint8:
        raise AssertionError(f"a mask {values.shape} of {values.dtype}, announced as {size}")


_whole = st.integers(0, 38).map(lambda index: _photograph(index % len(_all())))
_drawn = st.builds(mask, st.booleans(), st.sampled_from((1, 15, 255)))
_masks = st.one_of(
    _drawn,
    _drawn,
    _drawn,
    st.sampled_from(("L", "1", "P")).map(lambda mode: picture("PNG", mode)),
    _whole,
)
_damaged_masks = st.one_of(sometimes_damaged(_masks), damaged(_drawn, 2))
READERS = (
    Reader(
        "photographs",
        either(with_right_sums, damaged(_whole)).map(lambda data: {"a.png": data}),
        lambda folder: _look(folder / "a.png"),
    ),
    Reader(
        "masks",
        either(with_right_sums, _damaged_masks).map(lambda data: {"a.png": data}),
        lambda folder: _look_at_mask(folder / "a.png"),
    ),
)
