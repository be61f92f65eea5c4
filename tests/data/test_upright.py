from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from deft.data.upright import turn_of, turned

STORED = {1: (6, 9), 2: (6, 9), 3: (6, 9), 4: (6, 9), 5: (9, 6), 6: (9, 6), 7: (9, 6), 8: (9, 6)}
"""(H, W) of an upright image stored as 6 x 9, by EXIF's number."""


def stored(tag: int, kind: str) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = tag
    file = io.BytesIO()
    Image.fromarray(np.zeros((6, 9, 3), dtype=np.uint8)).save(file, format=kind, exif=exif)
    return Image.open(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("tag", STORED)
def test_the_turn_of_each_orientation(tag: int, kind: str) -> None:
    image = stored(tag, kind)
    turn = turn_of(image)
    assert (turn is None) == (tag == 1)
    upright = image if turn is None else image.transpose(turn)
    assert (upright.height, upright.width) == turned((6, 9), turn) == STORED[tag]


@pytest.mark.parametrize("tag", [0, 9, 77])
def test_other_numbers_turn_nothing(tag: int) -> None:
    assert turn_of(stored(tag, "JPEG")) is None
