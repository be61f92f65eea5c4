"""What comes from a browser is checked: numbers, words, JSON and masks."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError
from deft.review import asked
from deft.review.gallery import Query

NAN = float("nan")


def png(mode: str = "L", size: tuple[int, int] = (5, 4), kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("given", "found"), [(0, 0), ("12", 12), (2**53, 2**53), ("007", 7)])
def test_whole_numbers(given: Any, found: int) -> None:
    assert asked.whole(given, "x") == found


@pytest.mark.parametrize("given", [None, True, 1.0, -1, "-1", "", "1.5", "١", "9" * 5000, [1], {}, 2**60, "x", " 1"])
def test_what_is_no_whole_number_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="x: expected a whole number") as error:
        asked.whole(given, "x")
    assert len(str(error.value)) < 200


def test_thresholds_are_below_one() -> None:
    assert [asked.threshold(value) for value in (0, 0.5, 0.999)] == [0.0, 0.5, 0.999]
    for wrong in (1, -0.1, "0.5", None, NAN, float("inf"), True, 10**400, [0.5]):
        with pytest.raises(InputError, match="expected a threshold"):
            asked.threshold(wrong)


def test_lists_and_words() -> None:
    assert asked.numbers([1, 254], "tags") == [1, 254]
    assert asked.numbers([], "tags") == []
    for wrong in (None, "12", [0], [255], [True], [1.5], ["x"], [1] * 255, {"1": 1}):
        with pytest.raises(InputError, match="tags: expected"):
            asked.numbers(wrong, "tags")
    assert asked.word("brush", "what") == "brush"
    for wrong in (None, "", "Brush", "a b", "x" * 21, "a\n", "../a", 3):
        with pytest.raises(InputError, match="what: expected a word"):
            asked.word(wrong, "what")


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 100_000, b'{"a": 1} x', b"null"])
def test_bodies_that_are_no_json_object_are_refused(content: bytes) -> None:
    assert asked.body(b'{"a": [1]}') == {"a": [1]}
    with pytest.raises(InputError, match="expected a"):
        asked.body(content)


def test_queries() -> None:
    given = {"order": "name", "class": "cow", "state": "accepted", "context": "road", "q": "x" * 300, "other": "1"}
    assert asked.query(given) == Query("name", "cow", "accepted", "road", "x" * 200)
    assert asked.query({}) == Query()
    assert asked.span({"offset": "20", "limit": "10"}) == slice(20, 30)
    assert asked.span({}) == slice(0, 100)
    assert asked.ids("7,3,9") == [7, 3, 9]
    for wrong in ({"limit": "0"}, {"limit": "501"}, {"offset": "-1"}):
        with pytest.raises(InputError, match="expected a whole number"):
            asked.span(wrong)
    for ids in ("", "1,", "a", ",".join(["1"] * 201)):
        with pytest.raises(InputError, match="ids: expected"):
            asked.ids(ids)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_are_grey_or_palette_pngs(mode: str) -> None:
    found = asked.mask(png(mode), (4, 5))
    assert (found.shape, found.dtype, set(found.ravel())) == ((4, 5), np.uint8, {1})


def claims(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that nothing follows."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        png()[:40],
        png()[:-30],
        png("RGB"),
        png("RGBA"),
        png("LA"),
        png("I;16"),
        png("1"),
        png(size=(4, 5)),
        png(size=(5, 5)),
        png(kind="JPEG"),
        png(kind="GIF", mode="P"),
        png(kind="BMP"),
        claims(5, 4),
        claims(2**31 - 1, 2**31 - 1),
        claims(0, 0),
        png().replace(b"IDAT", b"IDAx"),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(InputError) as error:
        asked.mask(content, (4, 5))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
