from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.guards.opening import UnreadableError
from deft.guards.pictures import read_png


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_png_is_decoded_or_its_header_read(tmp_path: Path) -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(read_png(tmp_path / "a.png")), grey)
    assert read_png(tmp_path / "a.png", decode=False).size == (3, 2)


@pytest.mark.parametrize(("width", "height"), [(10_000, 9_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(width: int, height: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bomb(width, height))
    with pytest.raises(UnreadableError, match="expected at most 80 million pixels, got"):
        read_png(tmp_path / "a.png", decode=False)


@pytest.mark.parametrize("content", [b"", b"no image", bomb(8, 8), bomb(8, 8)[:40]])
def test_damage_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableError, match=r"a\.png: expected a PNG, got .*; write it again"):
        read_png(tmp_path / "a.png")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match="got a named pipe"):
        read_png(tmp_path / "a.png")
