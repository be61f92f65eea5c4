"""A contact sheet: pictures side by side, each row with a line that says what it is."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from deft.report.overlay import legend


def contact_sheet(
    rows: Sequence[tuple[str, tuple[int, int, int], Sequence[NDArray[np.uint8]]]], side: int = 220, columns: int = 3
) -> bytes:
    """A PNG of rows of pictures.

    Args:
        rows: caption, colour of the patch beside it, and pictures, RGB (H, W, 3), as many in each row.
        side: each picture is fitted into a square of that many pixels.
        columns: rows side by side.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("expected at least one row of pictures")
    cards = [_card(caption, colour, pictures, side) for caption, colour, pictures in rows]
    width, height = max(card.width for card in cards), max(card.height for card in cards)
    columns = min(columns, len(cards))
    sheet = Image.new("RGB", (columns * width, -(-len(cards) // columns) * height), "white")
    for place, card in enumerate(cards):
        sheet.paste(card, (place % columns * width, place // columns * height))
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _card(caption: str, colour: tuple[int, int, int], pictures: Sequence[NDArray[np.uint8]], side: int) -> Image.Image:
    card = Image.new("RGB", (len(pictures) * (side + 6) + 6, side), "white")
    for place, picture in enumerate(pictures):
        image = ImageOps.contain(Image.fromarray(np.ascontiguousarray(picture)), (side, side))
        card.paste(image, (6 + place * (side + 6) + (side - image.width) // 2, (side - image.height) // 2))
    line = Image.fromarray(legend([caption], np.array([colour], dtype=np.uint8), card.width))
    whole = Image.new("RGB", (card.width, card.height + line.height + 6), "white")
    whole.paste(card, (0, 6))
    whole.paste(line, (0, card.height + 6))
    return whole
