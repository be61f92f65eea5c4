"""A contact sheet: images side by side, each row with a caption."""

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
    """A PNG of rows of images.

    Args:
        rows: caption, colour of the patch beside it, and images, RGB (H, W, 3), the same number in each row.
        side: side of the square into which each image is fitted, in pixels.
        columns: number of rows placed side by side.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("expected at least one row of images, got none")
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
