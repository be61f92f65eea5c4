"""Sixty odd pictures with the pixels that they have to give, or one fault."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from deft.contracts import InputError
from deft.data.images import read_image
from field.case import Case, calls, encoded, picture, raises

GROUP = "Odd pictures"
_RGB = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
_IMAGE = Image.fromarray(_RGB)
_GREY = np.asarray(_IMAGE.convert("L"))
_TURNED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def _three(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2)


def _right(name: str, data: bytes, expected: NDArray[np.uint8], within: int = 0) -> Case:
    """The pixels are as expected, within a number of grey levels."""

    def wrong(folder: Path) -> str:
        found = read_image(folder / "a.bin")
        if found.shape != expected.shape:
            return f"shape {found.shape} instead of {expected.shape}"
        apart = int(np.abs(found.astype(int) - expected.astype(int)).max(initial=0))
        return "" if apart <= within else f"{apart} grey levels apart"

    return calls(GROUP, name, {"a.bin": data}, wrong)


def _either(name: str, data: bytes) -> Case:
    """Read as it is, or refused with the file's name."""

    def wrong(folder: Path) -> str:
        try:
            found = read_image(folder / "a.bin")
        except InputError as error:
            return "" if "a.bin" in str(error) else str(error)
        return "" if found.ndim == 3 and found.shape[2] == 3 else f"shape {found.shape}"

    return calls(GROUP, name, {"a.bin": data}, wrong)


def _refused(name: str, data: bytes, *words: str) -> Case:
    return raises(GROUP, name, {"a.bin": data}, lambda folder: read_image(folder / "a.bin"), "a.bin", *words)


def _exif(value: int, kind: str, **options: bool) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(_IMAGE, kind, exif=exif, **options)


def _notes(**texts: str) -> bytes:
    notes = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        notes.add_text(key, text, zip=key == "zip")
    return encoded(_IMAGE, "PNG", pnginfo=notes)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *others: bytes) -> bytes:
    """A PNG of raw rows."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(others)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


_SIXTEEN = (np.arange(48, dtype=np.uint16) * 1300).reshape(6, 8)
_ALPHA = np.where(np.arange(8) < 4, 255, 0).astype(np.uint8) * np.ones((6, 1), np.uint8)
_ON_WHITE = np.where(_ALPHA[..., None] == 255, _RGB, 255).astype(np.uint8)
_CUT = Image.fromarray(np.dstack([_RGB, _ALPHA]))
_JPEG = encoded(_IMAGE, "JPEG", quality=95)
_AS_JPEG = np.asarray(Image.open(io.BytesIO(_JPEG)).convert("RGB"))
_PNG = encoded(_IMAGE)
_BITS = np.array([[0, 1] * 4] * 6, bool)

CASES: list[Case] = [
    *(
        _right(f"EXIF {value} in PNG", _exif(value, "PNG"), np.ascontiguousarray(turn(_RGB)))
        for value, turn in _TURNED.items()
    ),
    *(
        _right(f"EXIF {value} in WebP", _exif(value, "WEBP", lossless=True), np.ascontiguousarray(_TURNED[value](_RGB)))
        for value in (3, 6)
    ),
    *(_right(kind, encoded(_IMAGE, kind), _RGB) for kind in ("PNG", "BMP", "TIFF", "PPM", "SGI", "PCX", "QOI", "DIB")),
    *(
        _right(f"TIFF, {name}", encoded(_IMAGE, "TIFF", compression=name), _RGB)
        for name in ("tiff_lzw", "packbits", "tiff_adobe_deflate")
    ),
    _right("JPEG 2000 without loss", encoded(_IMAGE, "JPEG2000", irreversible=False), _RGB),
    _right("WebP without loss", encoded(_IMAGE, "WEBP", lossless=True), _RGB),
    _right("JPEG", _JPEG, _AS_JPEG, 2),
    _right("JPEG with bytes behind its end", _JPEG + b"trailer" * 20, _AS_JPEG, 2),
    _right("grey PNG", encoded(_IMAGE.convert("L")), _three(_GREY)),
    _right("grey JPEG", encoded(_IMAGE.convert("L"), "JPEG", quality=100), _three(_GREY), 4),
    _right("16-bit grey PNG", encoded(Image.fromarray(_SIXTEEN)), _three(np.rint(_SIXTEEN / 257).astype(np.uint8)), 1),
    _right(
        "16-bit grey TIFF",
        encoded(Image.fromarray(_SIXTEEN), "TIFF"),
        _three(np.rint(_SIXTEEN / 257).astype(np.uint8)),
        1,
    ),
    _right(
        "16-bit RGB PNG",
        png(2, 1, 16, 2, b"\0" + bytes([255, 255, 0, 0, 128, 0] * 2)),
        np.array([[[255, 0, 128]] * 2], np.uint8),
        1,
    ),
    _right(
        "floats from 0 to 1",
        encoded(Image.fromarray(np.full((6, 8), 0.25, np.float32)), "TIFF"),
        np.full((6, 8, 3), 64, np.uint8),
        1,
    ),
    _right("one bit", encoded(Image.fromarray(_BITS)), _three(_BITS.astype(np.uint8) * 255)),
    _right(
        "2 bits of grey",
        png(4, 1, 2, 0, b"\0\x1b"),
        np.repeat(np.array([[0, 85, 170, 255]], np.uint8)[..., None], 3, 2),
    ),
    _right("4 bits of grey", png(2, 1, 4, 0, b"\0\x0f"), np.repeat(np.array([[0, 255]], np.uint8)[..., None], 3, 2)),
    _right(
        "a palette of two colours",
        png(2, 1, 1, 3, b"\0\x40", chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))),
        np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8),
    ),
    _right(
        "a transparent palette entry",
        png(2, 1, 1, 3, b"\0\x40", chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60])), chunk(b"tRNS", b"\0")),
        np.array([[[255, 255, 255], [40, 50, 60]]], np.uint8),
    ),
    _right(
        "a transparent grey",
        png(2, 1, 8, 0, b"\0\x05\x09", chunk(b"tRNS", b"\0\x05")),
        np.array([[[255] * 3, [9] * 3]], np.uint8),
    ),
    _right(
        "a transparent 16-bit grey",
        png(2, 1, 16, 0, b"\0\0\x05\xff\xff", chunk(b"tRNS", b"\0\x05")),
        np.full((1, 2, 3), 255, np.uint8),
    ),
    _right("a cut-out", encoded(_CUT), _ON_WHITE),
    _right("a cut-out in WebP", encoded(_CUT, "WEBP", lossless=True, exact=True), _ON_WHITE),
    _right(
        "grey with transparency",
        encoded(Image.fromarray(np.dstack([_GREY, _ALPHA]))),
        np.where(_ALPHA[..., None] == 255, _three(_GREY), 255).astype(np.uint8),
    ),
    _right("an animated PNG", encoded(_IMAGE, "PNG", save_all=True, append_images=[_IMAGE.rotate(180)]), _RGB),
    _right("a TIFF of two pages", encoded(_IMAGE, "TIFF", save_all=True, append_images=[_IMAGE.rotate(180)]), _RGB),
    _right("a text of 2 MiB", _notes(a="x" * 2**21), _RGB),
    _right("a compressed text of 2 MiB", _notes(zip="x" * 2**21), _RGB),
    _right("a profile of 2 MiB", encoded(_IMAGE, "PNG", icc_profile=b"\0" * 2**21), _RGB),
    _right("a broken profile", encoded(_IMAGE, "PNG", icc_profile=b"junk"), _RGB),
    _right("broken EXIF", encoded(_IMAGE, "PNG", exif=b"Exif\0\0junk"), _RGB),
    _right("EXIF 99", _exif(99, "PNG"), _RGB),
    _right(
        "3000 x 1", encoded(Image.fromarray(np.full((1, 3000, 3), 7, np.uint8))), np.full((1, 3000, 3), 7, np.uint8)
    ),
    _right("1 x 1", encoded(Image.fromarray(np.full((1, 1, 3), 7, np.uint8))), np.full((1, 1, 3), 7, np.uint8)),
    _right("a PNG that is named .bin", _PNG, _RGB),
    _either("CMYK", encoded(_IMAGE.convert("CMYK"), "JPEG")),
    _either("LAB", encoded(_IMAGE.convert("LAB"), "TIFF")),
    _refused("empty", b"", "empty"),
    _refused("text", b"hello", "not an image"),
    _refused("HTML of a lost page", b"<!DOCTYPE html><html>404</html>", "not an image"),
    _refused("a cut PNG", _PNG[: len(_PNG) // 2]),
    _refused("a PNG with a wrong check sum", _PNG.replace(b"IDAT", b"IDAT", 1)[:45] + b"\xff\xff" + _PNG[47:]),
    _refused("a cut JPEG", picture("JPEG", 3, (64, 64))[:900]),
    _refused("a header of 2 billion pixels", png(2**31 - 1, 2**31 - 1, 8, 2, b""), "million"),
    _refused("a header of 100 million pixels", png(10_000, 10_000, 8, 2, b""), "million"),
    _refused("no pixels", png(0, 5, 8, 2, b"")),
    _refused("floats above 1", encoded(Image.fromarray(np.full((6, 8), 7.5, np.float32)), "TIFF")),
    _refused("32-bit integers", encoded(Image.fromarray(np.full((6, 8), 70000, np.int32)), "TIFF")),
    _refused("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    _refused("a PDF", b"%PDF-1.7\n", "not an image"),
    _refused("a pickle", b"\x80\x04cos\nsystem\n", "not an image"),
    _refused("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
]
