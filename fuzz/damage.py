"""Damage to the bytes of a file: flipped bits, cuts, repeated and foreign parts, and numbers at their limits."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from hypothesis import strategies as st

_LIMITS = (
    *(b"\0", b"\xff", b"\x7f", b"\x80", b"\n", b'"', b"<", b"{", b"[", b"\x1b", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(struct.pack(kind, value) for kind in ("<I", ">I") for value in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000)),
    *(struct.pack(kind, value) for kind in ("<H", ">H") for value in (0x7FFF, 0xFFFF)),
    struct.pack("<Q", 2**63),
    b"99999999",
    b"-1",
)
_PNG = b"\x89PNG\r\n\x1a\n"
_TIMES = (1, 1, 1, 2, 3, 6)
"""How often a file is damaged: mostly once, so that the rest of it is read."""
_LONGEST = 200_000
"""Bytes beyond which nothing is repeated."""


@st.composite
def damaged(draw: st.DrawFn, files: st.SearchStrategy[bytes], most: int = 6) -> bytes:
    """A file with up to ``most`` damages, at least one."""
    data = draw(files)
    for _ in range(min(most, draw(st.sampled_from(_TIMES)))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((1, 2, 4, 8, 40, 300)))
        how = draw(st.sampled_from(("flip", "limit", "limit", "insert", "cut", "remove", "repeat", "splice", "zero")))
        if how == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        elif how in ("limit", "insert"):
            new = draw(st.sampled_from(_LIMITS))
            data = data[:at] + new + data[at + (len(new) if how == "limit" else 0) :]
        elif how == "cut":
            data = data[:at]
        elif how == "remove":
            data = data[:at] + data[at + length :]
        elif how == "repeat" and len(data) < _LONGEST:
            times = draw(st.sampled_from((2, 3, 50)))
            data = data[:at] + data[at : at + length] * times + data[at + length :]
        elif how == "splice":
            other = draw(files)
            data = data[:at] + other[draw(st.integers(0, len(other))) :]
        elif how == "zero":
            data = data[:at] + b"\0" * min(length, len(data) - at) + data[at + length :]
    return data


def sometimes_damaged(files: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Files, one of six damaged."""
    return st.sampled_from((False,) * 5 + (True,)).flatmap(lambda broken: damaged(files, 2) if broken else files)


def with_right_sums(data: bytes) -> bytes:
    """A PNG whose chunks have the right check sums again, so that a decoder looks at what was damaged."""
    if not data.startswith(_PNG):
        return data
    parts, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        end = at + 8 + length
        if end + 4 > len(data):
            break
        parts += [data[at:end], struct.pack(">I", zlib.crc32(data[at + 4 : end]))]
        at = end + 4
    return b"".join([*parts, data[at:]])


def either(change: Callable[[bytes], bytes], files: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Files as they are, or changed."""
    return st.one_of(files, files.map(change))
