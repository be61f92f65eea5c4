from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from deft.contracts import InputError
from deft.data.layouts.entries import Entry, image_of, tags_of


def png(colour: tuple[int, int, int] = (10, 200, 30), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(buffer, format=kind)
    return buffer.getvalue()


def test_the_photograph_of_an_entry() -> None:
    red, green = png((255, 0, 0)), png((0, 255, 0), "JPEG")
    assert (image_of(Entry("a", {"png": red, "json": b"{}", "seg.png": b"?"})).pixels == (255, 0, 0)).all()
    assert image_of(Entry("./a", {"png": red, "jpg": green})).pixels[0, 0].argmax() == 1
    assert image_of(Entry("a", {"png": red})).pixels.dtype == np.uint8
    with pytest.raises(InputError, match="expected one image, got jpg and webp"):
        image_of(Entry("a", {"jpg": green, "webp": green}))
    with pytest.raises(InputError, match="expected one image, got only json"):
        image_of(Entry("a", {"json": b"{}"}))
    with pytest.raises(InputError, match="damaged or truncated"):
        image_of(Entry("a", {"png": red[:-30]}))


@pytest.mark.parametrize("key", ["../a", "a/../../b", "/a", "a\\b", "a\nb"])
def test_a_key_that_leaves_its_folder_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="expected a key that is a relative path"):
        image_of(Entry(key, {"png": png()}))


@pytest.mark.parametrize(
    ("suffix", "content", "tags"),
    [
        ("json", b'{"tags": ["cow", " dog ", "cow"], "other": 1}', ("cow", "dog")),
        ("tags.json", b'["cow"]', ("cow",)),
        ("json", b'{"tags": []}', ()),
        ("cls", b"cow\ndog\n\n", ("cow", "dog")),
        ("txt", b"\xef\xbb\xbfpolar bear", ("polar bear",)),
        ("txt", b"", ()),
    ],
)
def test_tags_of_an_entry(suffix: str, content: bytes, tags: tuple[str, ...]) -> None:
    assert tags_of(Entry("a", {suffix: content}), suffix) == tags
    assert tags_of(Entry("a", {"png": content}), suffix) is None


@pytest.mark.parametrize(
    "content", [b"{", b'{"labels": []}', b'{"tags": "cow"}', b"[1]", b"3", b"\xff", b"[" * 100_000]
)
def test_what_is_no_list_of_tags_is_told(content: bytes) -> None:
    with pytest.raises(InputError, match=r'expected \{"tags": \["cow", \.\.\.\]\} in \.json, got'):
        tags_of(Entry("a", {"json": content}), "json")
