from __future__ import annotations

import io
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError
from deft.data.images import (
    MAX_PIXELS,
    image_size,
    mask_size,
    read_image,
    read_mask,
    read_scaled,
    turned_upright,
)

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


ALPHA = np.tile(np.array([0, 128, 255], dtype=np.uint8), (6, 3))
DEEP = np.arange(54, dtype=np.uint16).reshape(6, 9) * 1236
INDEX = (np.arange(54).reshape(6, 9) % 4).astype(np.uint8)
TABLE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], dtype=np.uint8)


def palette(**options: object) -> bytes:
    image = Image.fromarray(INDEX, "P")
    image.putpalette(TABLE.ravel().tolist())
    return encoded(image, "PNG", **options)


def cmyk() -> tuple[bytes, np.ndarray]:
    inks = np.zeros((8, 8, 4), dtype=np.uint8)
    inks[..., 1], inks[..., 3] = 255, 51  # full magenta, a fifth black
    return encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100), np.full((8, 8, 3), (204, 0, 204))


def rgb16_png() -> bytes:
    """Pillow cannot write 16-bit RGB, so the chunks are put together here."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in RGB)
    header = struct.pack(">IIBBBBB", 9, 6, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def two_frames() -> bytes:
    frames = [Image.fromarray(np.full((6, 9), value, dtype=np.uint8)) for value in (200, 10)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def broken_exif() -> bytes:
    return encoded(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")


GOOD: dict[str, Callable[[], tuple[bytes, np.ndarray]]] = {
    "rgb png": lambda: (encoded(Image.fromarray(RGB), "PNG"), RGB),
    "rgb bmp": lambda: (encoded(Image.fromarray(RGB), "BMP"), RGB),
    "rgb tiff": lambda: (encoded(Image.fromarray(RGB), "TIFF"), RGB),
    "rgb webp": lambda: (encoded(Image.fromarray(RGB), "WEBP", lossless=True), RGB),
    "rgb ppm": lambda: (encoded(Image.fromarray(RGB), "PPM"), RGB),
    "rgb 16 bit": lambda: (rgb16_png(), RGB),
    "grey": lambda: (encoded(Image.fromarray(GREY), "PNG"), rgb(GREY)),
    "grey jpeg": lambda: (encoded(Image.fromarray(np.full((8, 8), 90, np.uint8)), "JPEG"), np.full((8, 8, 3), 90)),
    "one bit": lambda: (encoded(Image.fromarray(GREY > 99), "PNG"), rgb(np.where(GREY > 99, 255, 0))),
    "cmyk": cmyk,
    "palette": lambda: (palette(), TABLE[INDEX]),
    "palette, see-through": lambda: (palette(transparency=1), np.where(INDEX[..., None] == 1, 255, TABLE[INDEX])),
    "rgb with a see-through colour": lambda: (
        encoded(Image.fromarray(TABLE[INDEX]), "PNG", transparency=(9, 8, 7)),
        np.where(INDEX[..., None] == 3, 255, TABLE[INDEX]),
    ),
    "rgba": lambda: (encoded(Image.fromarray(np.dstack([RGB, ALPHA])), "PNG"), on_white(RGB, ALPHA)),
    "grey with alpha": lambda: (
        encoded(Image.fromarray(np.dstack([GREY, ALPHA]), "LA"), "PNG"),
        on_white(rgb(GREY), ALPHA),
    ),
    "16 bit grey png": lambda: (encoded(Image.fromarray(DEEP), "PNG"), rgb(DEEP / 257)),
    "16 bit grey tiff": lambda: (encoded(Image.fromarray(DEEP), "TIFF"), rgb(DEEP / 257)),
    "16 bit grey pgm": lambda: (b"P5 9 6 65535\n" + DEEP.astype(">u2").tobytes(), rgb(DEEP / 257)),
    "float tiff": lambda: (encoded(Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"), rgb(GREY)),
    "gif of two frames": lambda: (two_frames(), np.full((6, 9, 3), 200)),
    "one pixel": lambda: (encoded(Image.fromarray(RGB[:1, :1]), "PNG"), RGB[:1, :1]),
    "damaged exif": lambda: (broken_exif(), RGB),
}


@pytest.mark.parametrize("kind", GOOD)
def test_odd_kinds_give_right_pixels(kind: str, tmp_path: Path) -> None:
    data, expected = GOOD[kind]()
    path = tmp_path / "a.jpg"  # the suffix is wrong for most of them, and does not matter
    path.write_bytes(data)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == expected.shape and image.flags.writeable
    assert np.abs(image.astype(float) - expected).max() <= 1
    assert image_size(path) == expected.shape[:2]
    np.testing.assert_array_equal(read_image(data), image)
    assert path.read_bytes() == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    stored = np.zeros((16, 32, 3), dtype=np.uint8)
    stored[:8, :16] = 255  # the stored first row and column show white
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a").write_bytes(encoded(Image.fromarray(stored), kind, exif=exif))
    image = read_image(tmp_path / "a")
    assert image.shape == ((32, 16, 3) if orientation >= 5 else (16, 32, 3)) == (*image_size(tmp_path / "a"), 3)
    # What EXIF says of the stored first row and column: (top or bottom, left or right).
    bottom, right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    height, width = image.shape[0] // 2, image.shape[1] // 2
    white = image[bottom * height :][:height, right * width :][:, :width]
    assert white.mean() > 250 and image.mean() == pytest.approx(255 / 4, abs=4)


def cut(kind: str, keep: float) -> bytes:
    data = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    return data[: int(len(data) * keep)]


def bomb() -> bytes:
    return b"P6 60000 60000 255\n" + b"0" * 9


def large() -> bytes:
    return b"P6 9000 9000 255\n" + b"0" * 9


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "jpeg cut in half": (lambda: cut("JPEG", 0.5), "truncated"),
    "png cut in half": (lambda: cut("PNG", 0.5), "truncated"),
    "jpeg without its end": (lambda: cut("JPEG", 0.97), "truncated"),
    "png cut in its header": (lambda: cut("PNG", 0.001), "not an image"),
    "tiff cut in half": (lambda: cut("TIFF", 0.5), ""),
    "webp cut in half": (lambda: cut("WEBP", 0.5), ""),
    "empty": (lambda: b"", "empty"),
    "a web page": (lambda: b"<!DOCTYPE html><p>404", "not an image"),
    "zeros": (lambda: bytes(2000), "not an image"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "claims 3600 megapixels": (bomb, "million pixels"),
    "claims 81 megapixels": (large, "million pixels"),
    "float tiff of 0 to 255": (lambda: encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "[0, 1]"),
    "float tiff with nan": (lambda: encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), "[0, 1]"),
    "32 bit integers": (lambda: encoded(Image.fromarray(DEEP.astype(np.int32) * 999), "TIFF"), "32-bit"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused_in_one_line_that_names_them(kind: str, tmp_path: Path) -> None:
    make, word = BAD[kind]
    path = tmp_path / "holiday picture.jpg"
    path.write_bytes(make())
    before = path.stat().st_mtime_ns, path.read_bytes()
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and word in message and "; " in message and "\n" not in message
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


@pytest.mark.parametrize("what", ["photograph", "mask"])
def test_lengths_of_gigabytes_in_a_small_file_need_no_memory(what: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.ones((7, 9), np.uint8)).save(buffer, "PNG")
    at = buffer.getvalue().index(b"IDAT")
    for place in (at - 4, at + 4):  # a first and a second chunk that is said to be huge
        content = bytearray(buffer.getvalue())
        content[place : place + 4] = b"\xff\x00\x14\x49"
        (tmp_path / "a.png").write_bytes(content)
        tracemalloc.start()
        with suppress(InputError):
            (read_image if what == "photograph" else read_mask)(tmp_path / "a.png")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64e6


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(InputError, match="cannot be opened"):
            read_image(path)


def test_the_limit_is_below_what_the_decoder_warns_of() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None and MAX_PIXELS < Image.MAX_IMAGE_PIXELS


def test_mask_values_are_the_file_values_whatever_the_palette(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [3, 255, 1]], dtype=np.uint8)
    coloured = Image.fromarray(values, "P")
    coloured.putpalette([200] * 768)  # all colours alike
    for name, image in {
        "p": coloured,
        "l": Image.fromarray(values),
        "i16": Image.fromarray(values.astype(np.uint16)),
    }.items():
        image.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png"), values)
        assert mask_size(tmp_path / f"{name}.png") == (2, 3)
    Image.fromarray(values > 0).save(tmp_path / "one.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "one.png"), values > 0)


def test_masks_that_lost_their_values_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "colour.png")
    Image.fromarray(GREY).save(tmp_path / "lossy.jpg")
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    for name, word in {"colour.png": "colour image", "lossy.jpg": "JPEG", "deep.png": "0 to 255"}.items():
        with pytest.raises(InputError, match=word):
            read_mask(tmp_path / name)
    for name in ("colour.png", "lossy.jpg"):
        with pytest.raises(InputError):
            mask_size(tmp_path / name)


def test_heif_is_turned_by_its_own_decoder_and_not_by_exif(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[:, 32:], pixels[24:, :32] = (200, 30, 20), (20, 30, 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.heic", format="HEIF", quality=90, exif=exif)
    found = read_image(tmp_path / "a.heic")
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - pixels.astype(int)).mean() < 4


def test_heif_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"pip install 'deft-wsss\[heif\]'"):
        read_image(tmp_path / "a.jpg")


def scenery(height: int, width: int) -> np.ndarray:
    """A smooth picture with one bright rectangle in its upper left part, (H, W, 3)."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([60 + 60 * rows / height, 90 + 40 * columns / width, 80 + 0 * rows], axis=2)
    pixels[height // 8 : height // 4 + 1, width // 8 : width // 2 + 1] = (230, 200, 40)
    return pixels.astype(np.uint8)


SCALED = {
    "a.jpg": ("RGB", {"quality": 95}),
    "progressive.jpg": ("RGB", {"quality": 95, "progressive": True}),
    "grey.jpg": ("L", {"quality": 95}),
    "print.jpg": ("CMYK", {"quality": 95}),
    "a.png": ("RGB", {}),
    "palette.png": ("P", {}),
    "alpha.png": ("RGBA", {}),
    "a.tif": ("RGB", {}),
    "a.webp": ("RGB", {"lossless": True}),
    "a.bmp": ("RGB", {}),
}


@pytest.mark.parametrize("size", [(600, 400), (257, 640), (1, 500), (500, 3)])
@pytest.mark.parametrize("name", SCALED)
def test_every_format_is_scaled_to_what_the_whole_shows(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    mode, options = SCALED[name]
    Image.fromarray(scenery(*size)).convert(mode).save(tmp_path / name, **options)
    whole = read_image(tmp_path / name)
    for most in (300, 150, 64):
        found = read_scaled(tmp_path / name, most)
        height, width = (max(1, round(side * most / max(size))) for side in size)
        assert found.size == size and found.pixels.dtype == np.uint8
        assert abs(found.pixels.shape[0] - height) <= 1 and abs(found.pixels.shape[1] - width) <= 1
        assert max(found.pixels.shape[:2]) == most
        other = Image.fromarray(whole).resize(found.pixels.shape[1::-1], Image.Resampling.BICUBIC)
        difference = np.abs(found.pixels.astype(int) - np.asarray(other).astype(int))
        assert difference.mean() < 2.5
        assert np.array_equal(found.pixels, read_scaled((tmp_path / name).read_bytes(), most).pixels)
    for most in (max(size), 5000, None):
        assert np.array_equal(read_scaled(tmp_path / name, most).pixels, whole)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("tag", [1, 2, 3, 4, 5, 6, 7, 8])
def test_scaled_images_are_upright(tmp_path: Path, kind: str, tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / f"a.{kind}"
    Image.fromarray(scenery(400, 600)).save(path, exif=exif, quality=95)
    whole, found = read_image(path), read_scaled(path, 100)
    assert found.size == whole.shape[:2] == image_size(path)
    assert found.pixels.shape[:2] == ((67, 100) if tag < 5 else (100, 67))
    other = Image.fromarray(whole).resize(found.pixels.shape[1::-1], Image.Resampling.BICUBIC)
    assert np.abs(found.pixels.astype(int) - np.asarray(other).astype(int)).mean() < 2.5
    stored = read_scaled(path, 100, upright=False)
    assert stored.size == (400, 600) and stored.pixels.shape == (67, 100, 3)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("cut", [0.4, 0.8, 0.97])
def test_damage_is_noticed_at_a_small_size_too(tmp_path: Path, mode: str, cut: float) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (640, 800, 3), dtype=np.uint8)).convert(mode).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    for broken in (content[: int(cut * len(content))], content[: int(cut * len(content))] + b"\xff\xd9"):
        with pytest.raises(InputError, match="damaged or truncated"):
            read_scaled(broken, 100)


def test_a_deep_grey_image_is_scaled(tmp_path: Path) -> None:
    deep = (scenery(300, 200)[..., 0].astype(np.uint16)) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = read_scaled(tmp_path / "deep.png", 75)
    assert found.size == (300, 200) and found.pixels.shape == (75, 50, 3)
    other = Image.fromarray(read_image(tmp_path / "deep.png")).resize((50, 75), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found.pixels, np.asarray(other))


def test_lack_of_memory_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(scenery(40, 40)).save(tmp_path / "a.png")

    def load(self: object) -> None:
        raise OSError("out of memory error when reading image file")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(MemoryError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_its_image_is(orientation: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert (turned_upright(pixels, tmp_path / "a.png") == read_image(tmp_path / "a.png")[..., 0]).all()
