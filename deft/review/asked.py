"""What requests ask for, checked: numbers, words and masks that come from a browser."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.contracts import InputError
from deft.data.images import read_mask
from deft.guards.words import first_line
from deft.review.gallery import ORDERS, Query

MOST_JSON = 64_000
"""Bytes of a JSON body."""
MOST_MASK = 16_000_000
"""Bytes of the file of a mask: 2048 x 2048 pixels of noise are 4 MB."""
MOST_IDS = 200
"""Images that are asked for by id at once."""
_PAGE = 500
_WORD = re.compile(r"[a-z]{1,20}")
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?")


def whole(given: Any, what: str, least: int = 0, most: int = 2**53) -> int:
    """A whole number within bounds, from JSON or from an address.

    Raises:
        InputError: it is none.
    """
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= 16:
        given = int(given)
    if type(given) is not int or not least <= given <= most:
        raise InputError(f"{what}: expected a whole number from {least} to {most}, got {_short(given)}")
    return given


def threshold(given: Any) -> float:
    """A background threshold in [0, 1).

    Raises:
        InputError: it is none.
    """
    if type(given) not in (int, float) or not 0 <= given < 1:
        raise InputError(f"value: expected a threshold from 0 to less than 1, got {_short(given)}")
    return float(given)


def numbers(given: Any, what: str) -> list[int]:
    """A list of at most 254 mask values of classes.

    Raises:
        InputError: it is none.
    """
    if not isinstance(given, list) or len(given) > 254:
        raise InputError(f"{what}: expected a list of at most 254 whole numbers, got {_short(given)}")
    return [whole(each, what, 1, 254) for each in given]


def word(given: Any, what: str) -> str:
    """A word of up to 20 small letters.

    Raises:
        InputError: it is none.
    """
    if not isinstance(given, str) or not _WORD.fullmatch(given):
        raise InputError(f"{what}: expected a word of small letters, got {_short(given)}")
    return given


def digest(given: Any, what: str) -> str | None:
    """A SHA-256 in hex, empty where there is no file; None if none is given.

    Raises:
        InputError: it is none.
    """
    if given is not None and not (isinstance(given, str) and _DIGEST.fullmatch(given)):
        raise InputError(f"{what}: expected a SHA-256 in hex, got {_short(given)}")
    return given


def body(content: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: it is none.
    """
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise InputError("expected a body of JSON, got something else") from None
    if not isinstance(found, dict):
        raise InputError(f"expected a JSON object, got {_short(found)}")
    return found


def query(given: Mapping[str, str]) -> Query:
    """What a list of images asks for."""
    return Query(
        given.get("order", ORDERS[0]),
        given.get("class", ""),
        given.get("state", ""),
        given.get("context", ""),
        given.get("q", "")[:200],
    )


def span(given: Mapping[str, str]) -> slice:
    """Which part of a list is asked for: ``offset`` and ``limit``; raises as :func:`whole`."""
    start = whole(given.get("offset", "0"), "offset")
    return slice(start, start + whole(given.get("limit", "100"), "limit", 1, _PAGE))


def ids(given: str) -> list[int]:
    """Ids of images, separated by commas; raises as :func:`whole`."""
    parts = given.split(",")
    if len(parts) > MOST_IDS:
        raise InputError(f"ids: expected at most {MOST_IDS}, got {len(parts)}")
    return [whole(part, "ids") for part in parts]


def mask(content: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask in a PNG, uint8 (H, W).

    Args:
        content: of the file.
        size: (H, W) that it has to have; others are not decoded.

    Raises:
        InputError: it is no grey or palette PNG of this size.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            came, mode = (image.height, image.width), image.mode
    except Exception as error:  # the bytes may be hostile: any exception of a decoder means "not readable"
        raise InputError(f"expected a mask as PNG, got something else ({first_line(error, 80)})") from None
    if came != size:
        raise InputError(f"expected a mask of {size[1]} x {size[0]} pixels, got {came[1]} x {came[0]}; reload the page")
    if mode not in ("L", "P"):
        raise InputError(f"expected a mask as grey or palette PNG with 8 bits, got one of mode {mode}")
    found = read_mask(content)
    if found.shape != size:  # EXIF in the PNG has turned it
        raise InputError("expected a mask without EXIF, got one that it turns")
    return found


def _short(given: Any) -> str:
    return repr(given)[:60]
