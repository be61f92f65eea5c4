from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from deft.data.images import read_image
from deft.data.png_notes import without_notes

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def png(**options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG", **options)
    return stream.getvalue()


def long_text(compressed: bool, size: int = 3_000_000) -> PngImagePlugin.PngInfo:
    note = PngImagePlugin.PngInfo()
    note.add_text("comment", "x" * size, zip=compressed)
    return note


def after_the_pixels(content: bytes) -> bytes:
    """The PNG with its first text moved behind the pixels."""
    at = content.index(b"zTXt") - 4
    end = at + 12 + int.from_bytes(content[at : at + 4], "big")
    last = content.index(b"IEND") - 4
    return content[:at] + content[end:last] + content[at:end] + content[last:]


LONG = {
    "text": png(pnginfo=long_text(False)),
    "compressed text": png(pnginfo=long_text(True)),
    "text behind the pixels": after_the_pixels(png(pnginfo=long_text(True))),
    "text of a gigabyte": png(pnginfo=long_text(True, 10**9 // 4)),
    "profile": png(icc_profile=bytes(3_000_000)),
}


@pytest.mark.parametrize("kind", LONG)
def test_a_long_note_changes_no_pixel(kind: str) -> None:
    assert np.array_equal(read_image(LONG[kind]), PIXELS)


def test_only_notes_are_left_out() -> None:
    for content in LONG.values():
        plain = without_notes(content)
        assert plain is not None and len(plain) < 1000
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(plain))), PIXELS)


def test_nothing_is_removed_where_there_is_nothing() -> None:
    assert without_notes(png()) is None
    assert without_notes(b"GIF89a") is None


def test_a_damaged_png_ends() -> None:
    content = png(pnginfo=long_text(False, 20))
    for cut in range(len(content)):
        found = without_notes(content[:cut])
        assert found is None or len(found) <= cut
