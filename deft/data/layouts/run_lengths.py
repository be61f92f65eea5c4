"""Run lengths of binary masks as other tools store them: COCO's counts and their text, and Label Studio's brush.

Every decoder checks what it reads before it allocates: lengths come from files that may be damaged or hostile.

COCO's *counts* are the lengths of runs of zeros and ones in turn, beginning with zeros, column by column. Its text
holds each count, from the fourth on as the difference to the count before the previous one, in groups of five bits,
lowest first, plus 32 if another group follows, plus 48. CVAT has the same counts, row by row, within a box.

Label Studio's brush is a stream of bits, of the four channels (red, green, blue, alpha) of each pixel row by row: 32
bits for the number of values, 5 for the bits of a value less 1, 4 times 4 for four sizes of lengths less 1; then
blocks: 1 bit that is set for a run of one value, 2 bits that choose the size of the length, the length less 1, and one
value, or as many values as the length says. Alpha is the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST = 2**40
_BRUSH_SIZES = (3, 4, 8, 16)


def mask_to_counts(mask: NDArray[np.bool_], columns: bool = True) -> list[int]:
    """Lengths of runs of zeros and ones in turn, beginning with zeros.

    Args:
        mask: (H, W).
        columns: column by column as in COCO, else row by row as in CVAT.

    >>> mask_to_counts(np.array([[False, True], [True, True]]))
    [1, 3]
    """
    flat = mask.astype(np.bool_).ravel(order="F" if columns else "C")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(changes, prepend=0, append=len(flat)).tolist()
    return [0, *counts] if len(flat) and flat[0] else list(counts)


def counts_to_mask(counts: NDArray[np.int64], size: tuple[int, int], columns: bool = True) -> NDArray[np.bool_]:
    """The mask (H, W) of checked counts, see :func:`checked_counts`."""
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size, order="F" if columns else "C")


def checked_counts(counts: Any, size: tuple[int, int]) -> NDArray[np.int64]:
    """Counts as an array, from a list of numbers or COCO's text.

    Args:
        counts: as read from a file.
        size: (H, W) of the mask.

    Raises:
        ValueError: they are not counts, negative, or do not add up to ``size``.
    """
    if isinstance(counts, str | bytes):
        numbers = text_to_counts(counts)
    elif isinstance(counts, list):
        numbers = counts
    else:
        raise ValueError(f"expected counts as a list or as text, got {type(counts).__name__}")
    try:
        found = np.array(numbers or [0], dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("expected counts that are numbers") from None
    if found.ndim != 1 or not np.isfinite(found).all() or (found != np.floor(found)).any():
        raise ValueError("expected counts that are whole numbers")
    if (found < 0).any() or (found > _LARGEST).any():
        raise ValueError(f"expected counts of 0 and more, got {found[(found < 0) | (found > _LARGEST)][0]:g}")
    if int(found.sum()) != size[0] * size[1]:
        raise ValueError(
            f"its counts add up to {found.sum():.0f} pixels, but it is {size[1]} x {size[0]} ({size[0] * size[1]})"
        )
    return found.astype(np.int64)


def counts_to_text(counts: Sequence[int]) -> str:
    """COCO's text of counts.

    >>> counts_to_text([6, 1, 40, 4, 5])
    '61X13mN'
    """
    letters = []
    for index, count in enumerate(counts):
        rest = int(count) - (int(counts[index - 2]) if index > 2 else 0)
        more = True
        while more:
            group, rest = rest & 31, rest >> 5
            more = rest != (-1 if group & 16 else 0)
            letters.append(chr(48 + group + (32 if more else 0)))
    return "".join(letters)


def text_to_counts(text: str | bytes) -> list[int]:
    """The counts in COCO's text.

    Raises:
        ValueError: a character cannot be in such a text, it ends within a count, or a count is far too large.

    >>> text_to_counts("61X13mN")
    [6, 1, 40, 4, 5]
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace"):
        group = letter - 48
        if not 0 <= group < 64:
            raise ValueError(f"expected compressed counts, got the character {chr(letter)!r}")
        value |= (group & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("a count is too large")
        if not group & 32:
            if group & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            if not 0 <= counts[-1] <= _LARGEST:
                raise ValueError(f"expected counts of 0 and more, got {counts[-1]}")
            value = shift = 0
    if shift:
        raise ValueError("its compressed counts are cut short")
    return counts


def mask_to_brush(mask: NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) as the bytes of Label Studio's brush."""
    bits = [f"{mask.size * 4:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in _BRUSH_SIZES)]
    for index, pixels in enumerate(mask_to_counts(mask, columns=False)):
        left = pixels * 4
        while left:
            length = min(left, 1 << _BRUSH_SIZES[-1])
            chosen = next(place for place, size in enumerate(_BRUSH_SIZES) if length <= 1 << size)
            bits.append(f"1{chosen:02b}{length - 1:0{_BRUSH_SIZES[chosen]}b}{255 * (index % 2):08b}")
            left -= length
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def brush_to_mask(values: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of Label Studio's brush: pixels whose alpha is at least half.

    Args:
        values: list of bytes, as read from a file.
        size: (H, W); memory is one byte a pixel, so check it against the image first.

    Raises:
        ValueError: they are not such bytes, are cut short, or belong to another size.
    """
    try:
        raw = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("expected a brush as a list of bytes") from None
    if raw.ndim != 1 or len(raw) < 7 or not ((raw >= 0) & (raw <= 255) & (raw == np.floor(raw))).all():
        raise ValueError("expected a brush as a list of bytes")
    bits = np.unpackbits(raw.astype(np.uint8))
    text = (bits + 48).tobytes().decode("ascii")
    total, width = int(text[:32], 2), int(text[32:37], 2) + 1
    sizes = [int(text[at : at + 4], 2) + 1 for at in range(37, 53, 4)]
    if total != 4 * size[0] * size[1]:
        raise ValueError(f"the brush has {total // 4} pixels, but the image {size[1]} x {size[0]}")
    alpha = np.zeros(size[0] * size[1], dtype=np.bool_)
    powers = 1 << np.arange(width, dtype=np.int64)[::-1]
    half, at, done = 1 << (width - 1), 53, 0
    while done < total:
        bits_of_length = sizes[int(text[at + 1 : at + 3] or "0", 2)]
        start = at + 3 + bits_of_length
        length = int(text[at + 3 : start] or "0", 2) + 1
        run = text[at : at + 1] == "1"
        end = start + width * (1 if run else length)
        if end > len(text) or done + length > total:
            raise ValueError("the brush is cut short or damaged")
        # Value number 4 * pixel + 3 is the alpha of a pixel.
        first, last = done // 4, (done + length) // 4
        if run:
            alpha[first:last] = int(text[start:end], 2) >= half
        else:
            literal = bits[start:end].reshape(length, width) @ powers
            alpha[first:last] = literal[(3 - done) % 4 :: 4] >= half
        at, done = end, done + length
    return alpha.reshape(size)
