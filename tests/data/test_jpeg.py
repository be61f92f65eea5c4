from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError
from deft.data.images import read_image
from deft.data.jpeg import DamagedError, decoded

pytest.importorskip("simplejpeg")

NOISE = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE).resize((90, 70))
KINDS = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "full colour": {"quality": 95, "subsampling": 0},
    "grey": {"quality": 90},
    "inks": {"quality": 90},
}


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    mode = {"grey": "L", "inks": "CMYK"}.get(kind, "RGB")
    PICTURE.convert(mode).save(stream, "JPEG", **KINDS[kind])
    return stream.getvalue()


def of_height(content: bytes, height: int) -> bytes:
    """The JPEG with another height in its frame header."""
    at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    return content[: at + 5] + struct.pack(">H", height) + content[at + 7 :]


def zeroed(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes(150) + content[at + 150 :]


DAMAGES = {
    "cut and closed": lambda content: content[: len(content) * 2 // 3] + b"\xff\xd9",
    "a few bytes short": lambda content: content[:-30] + b"\xff\xd9",
    "taller": lambda content: of_height(content, 200),
    "lower": lambda content: of_height(content, 40),
    "zeroed": zeroed,
}


@pytest.mark.parametrize("kind", KINDS)
def test_sound_pictures_have_pillows_pixels(kind: str) -> None:
    content = encoded(kind)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    for whole in (content, content + b"\0" * 100, content + content):
        assert np.array_equal(read_image(whole), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_libjpeg_warns_of_is_a_fault(kind: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(DAMAGES[damage](encoded(kind)))
    with pytest.raises(InputError, match=r"a\.jpg: damaged or truncated \(.+\); copy it again"):
        read_image(path)


def test_only_what_it_reads_is_decoded_here() -> None:
    assert decoded(encoded("inks"), "CMYK") is None
    assert decoded(b"no JPEG", "RGB") is None
    pixels = decoded(encoded("baseline"), "RGB")
    assert pixels is not None and pixels.shape == (70, 90, 3)
    with pytest.raises(DamagedError, match="premature end"):
        decoded(DAMAGES["cut and closed"](encoded("baseline")), "RGB")
