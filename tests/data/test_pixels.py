from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError
from deft.data.images import read_image, read_mask


def png(depth: int, colour: int, rows: list[bytes], width: int, clear: bytes = b"") -> bytes:
    """A PNG of any depth; ``clear`` is its transparent value."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + (chunk(b"tRNS", clear) if clear else b"") + pixels + chunk(b"IEND", b"")


def tiff(bits: int, photometric: int, data: bytes, width: int, bands: int = 1, extra: tuple[int, ...] = ()) -> bytes:
    """A TIFF of one row."""
    fields: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (1,), 258: (bits,) * bands, 259: (1,), 262: (photometric,), 273: (0,), 277: (bands,),
        278: (1,), 279: (len(data),),
    }  # fmt: skip
    if extra:
        fields[338] = extra
    entries, values = b"", b""
    after = 8 + 2 + 12 * len(fields) + 4
    start = after + sum(2 * len(value) for value in fields.values() if len(value) > 2)
    fields[273] = (start,)
    for tag, value in sorted(fields.items()):
        packed = struct.pack(f"<{len(value)}H", *value)
        place = packed.ljust(4, b"\0") if len(value) <= 2 else struct.pack("<I", after + len(values))
        values += packed if len(value) > 2 else b""
        entries += struct.pack("<HHI", tag, 3, len(value)) + place
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + values + data


def greys(content: bytes) -> list[int]:
    pixels = read_image(content)
    assert (pixels == pixels[..., :1]).all()
    return [int(value) for value in pixels[0, :, 0]]


GREYS = {
    "PNG 1": (png(1, 0, [b"\x50"], 4), [0, 255, 0, 255]),
    "PNG 2": (png(2, 0, [b"\x1b"], 4), [0, 85, 170, 255]),
    "PNG 4": (png(4, 0, [b"\x01\x2f"], 4), [0, 17, 34, 255]),
    "PNG 16": (png(16, 0, [struct.pack(">4H", 0, 257, 32896, 65535)], 4), [0, 1, 128, 255]),
    "PNG 1, clear": (png(1, 0, [b"\x50"], 4, b"\0\0"), [255] * 4),
    "PNG 2, clear": (png(2, 0, [b"\x1b"], 4, b"\0\1"), [0, 255, 170, 255]),
    "PNG 4, clear": (png(4, 0, [b"\x01\x2f"], 4, b"\0\2"), [0, 17, 255, 255]),
    "PNG 8, clear": (png(8, 0, [bytes([7, 8, 9])], 3, b"\0\x08"), [7, 255, 9]),
    "PNG 16, clear": (png(16, 0, [struct.pack(">3H", 0, 256, 25700)], 3, b"\x01\0"), [0, 255, 100]),
    "TIFF 1": (tiff(1, 1, b"\x50", 4), [0, 255, 0, 255]),
    "TIFF 1, 0 is white": (tiff(1, 0, b"\x50", 4), [255, 0, 255, 0]),
    "TIFF 4": (tiff(4, 1, b"\x01\x2f", 4), [0, 17, 34, 255]),
    "TIFF 8, 0 is white": (tiff(8, 0, bytes([0, 1, 255]), 3), [255, 254, 0]),
    "TIFF 12": (tiff(12, 1, b"\xff\xf0\x00\x80\x80\x00", 4), [255, 0, 128, 0]),
    "TIFF 16": (tiff(16, 1, struct.pack("<3H", 0, 257, 65535), 3), [0, 1, 255]),
    "TIFF 16, 0 is white": (tiff(16, 0, struct.pack("<2H", 0, 65535), 2), [255, 0]),
    "TIFF with an unknown band": (tiff(8, 1, bytes([10, 0, 20, 99]), 2, 2, (0,)), [10, 20]),
    "PGM to 15": (b"P5 3 1 15\n" + bytes([0, 1, 15]), [0, 17, 255]),
    "PGM to 4095": (b"P5 3 1 4095\n" + struct.pack(">3H", 0, 2048, 4095), [0, 128, 255]),
}


@pytest.mark.parametrize("kind", GREYS)
def test_greys_of_every_depth(kind: str) -> None:
    content, expected = GREYS[kind]
    assert greys(content) == expected


MASKS = {
    "PNG 1": (png(1, 0, [b"\x50"], 4), [0, 1, 0, 1]),
    "PNG 2": (png(2, 0, [b"\x1b"], 4), [0, 1, 2, 3]),
    "PNG 4": (png(4, 0, [b"\x01\x2f"], 4), [0, 1, 2, 15]),
    "PNG 8": (png(8, 0, [b"\0\1\2\xff"], 4), [0, 1, 2, 255]),
    "PNG 16": (png(16, 0, [struct.pack(">3H", 0, 2, 255)], 3), [0, 2, 255]),
    "TIFF 2": (tiff(2, 1, b"\x1b", 4), [0, 1, 2, 3]),
    "TIFF 4, 0 is white": (tiff(4, 0, b"\x01\x2f", 4), [0, 1, 2, 15]),
    "TIFF 8, 0 is white": (tiff(8, 0, b"\0\1\2", 3), [0, 1, 2]),
    "TIFF 1, 0 is white": (tiff(1, 0, b"\x50", 4), [0, 1, 0, 1]),
    "PGM to 15": (b"P5 3 1 15\n" + bytes([0, 1, 15]), [0, 1, 15]),
    "PGM to 200": (b"P5 3 1 200\n" + bytes([0, 7, 200]), [0, 7, 200]),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_keep_the_stored_numbers(kind: str, tmp_path: Path) -> None:
    content, expected = MASKS[kind]
    (tmp_path / "mask").write_bytes(content)
    assert read_mask(tmp_path / "mask").tolist() == [expected]


def test_bands_beyond_three_are_left_out() -> None:
    colours = [[0, 1, 2], [10, 11, 12]]
    for extra in ((0,), ()):
        assert read_image(tiff(8, 2, bytes([0, 1, 2, 200, 10, 11, 12, 30]), 2, 4, extra)).tolist() == [colours]
    five = bytes([0, 1, 2, 3, 4, 10, 11, 12, 13, 14])
    assert read_image(tiff(8, 2, five, 2, 5, (0, 0))).tolist() == [colours]


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_near_infrared_marked_as_transparency_is_told(kind: str) -> None:
    bands = np.random.default_rng(0).integers(20, 230, (16, 16, 4), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(bands, "RGBA").save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
    with pytest.raises(InputError, match="expected transparency in its last band, got values that vary like a picture"):
        read_image(stream.getvalue())


def test_a_cut_out_is_no_infrared() -> None:
    alpha = np.zeros((16, 16), dtype=np.uint8)
    alpha[4:12, 4:12] = 255
    alpha[4, 4:12] = np.arange(20, 180, 20)
    cut = np.dstack([np.full((16, 16, 3), 9, dtype=np.uint8), alpha])
    veil = np.full((16, 16, 4), 128, dtype=np.uint8)
    for bands, corner in ((cut, 255), (veil, 191)):
        stream = io.BytesIO()
        Image.fromarray(bands, "RGBA").save(stream, "PNG")
        assert abs(int(read_image(stream.getvalue())[0, 0, 0]) - corner) <= 1


def test_deep_colours_with_a_transparent_one_are_told() -> None:
    content = png(16, 2, [bytes(range(1, 7)) * 2], 2, bytes(range(1, 7)))
    with pytest.raises(InputError, match="16-bit colours with one transparent colour"):
        read_image(content)


@pytest.mark.parametrize(
    ("kind", "suffix", "tolerance"),
    [
        ("TGA", ".tga", 0), ("QOI", ".qoi", 0), ("PCX", ".pcx", 0), ("SGI", ".sgi", 0), ("JPEG2000", ".jp2", 0),
        ("AVIF", ".avif", 20),
    ],
)  # fmt: skip
def test_further_formats(kind: str, suffix: str, tolerance: int, tmp_path: Path) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {kind}")
    picture = np.asarray(Image.linear_gradient("L").resize((24, 16)).convert("RGB"))
    Image.fromarray(picture).save(tmp_path / f"a{suffix}", kind)
    found = read_image(tmp_path / f"a{suffix}").astype(int)
    assert np.abs(found - picture).max() <= tolerance
