from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from deft.report.contact import contact_sheet


def test_each_row_is_at_its_position() -> None:
    red, blue = np.full((20, 40, 3), (255, 0, 0), np.uint8), np.full((60, 30, 3), (0, 0, 255), np.uint8)
    rows = [(f"row {index} <b>\x00", (10, 200, 10), [red, blue]) for index in range(4)]
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(rows, side=50, columns=3))).convert("RGB"))
    assert (sheet == (255, 0, 0)).all(axis=2).sum() == 4 * 50 * 25
    assert (sheet == (0, 0, 255)).all(axis=2).sum() == 4 * 25 * 50
    one = Image.open(io.BytesIO(contact_sheet(rows[:1], side=50)))
    assert sheet.shape[1] == 3 * one.width
    assert sheet.shape[0] == 2 * one.height


def test_a_sheet_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([])
