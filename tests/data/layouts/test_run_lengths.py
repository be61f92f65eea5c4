from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from deft.data.layouts.run_lengths import (
    brush_to_mask,
    checked_counts,
    counts_to_mask,
    counts_to_text,
    mask_to_brush,
    mask_to_counts,
    text_to_counts,
)

MASKS = [np.random.default_rng(seed).random((seed % 7 + 1, 3 * seed + 1)) > 0.1 * seed for seed in range(10)]
MASKS += [np.zeros((300, 400), bool), np.ones((300, 400), bool), np.tri(90, dtype=bool)]

each_mask = pytest.mark.parametrize("mask", MASKS, ids=str)


@each_mask
def test_counts_and_text_are_those_of_pycocotools(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    counts = mask_to_counts(mask)
    assert counts_to_text(counts) == text and text_to_counts(text) == text_to_counts(text.encode()) == counts


@each_mask
@pytest.mark.parametrize("columns", [True, False])
def test_a_mask_comes_back_from_its_counts(mask: np.ndarray, columns: bool) -> None:
    counts = checked_counts(mask_to_counts(mask, columns), (mask.shape[0], mask.shape[1]))
    np.testing.assert_array_equal(counts_to_mask(counts, (mask.shape[0], mask.shape[1]), columns), mask)


@each_mask
def test_a_mask_comes_back_from_its_brush(mask: np.ndarray) -> None:
    values = mask_to_brush(mask)
    assert all(0 <= value <= 255 for value in values)
    np.testing.assert_array_equal(brush_to_mask(values, (mask.shape[0], mask.shape[1])), mask)


def brush(blocks: Sequence[tuple[list[int], bool]], total: int) -> list[int]:
    """A stream written bit by bit from the description: runs and literal values of 8 bits, lengths of 4 bits."""
    bits = f"{total:032b}" + f"{7:05b}" + f"{3:04b}" * 4
    for values, run in blocks:
        bits += ("1" if run else "0") + "01" + f"{len(values) - 1:04b}"
        bits += "".join(f"{value:08b}" for value in (values[:1] if run else values))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def test_a_brush_of_runs_and_single_values_is_read() -> None:
    # Three pixels: alpha 200, 10 and 128. The second block begins and ends inside a pixel.
    values = brush([([7] * 3, True), ([200, 1, 2, 3, 10, 0], False), ([128] * 3, True)], 12)
    assert brush_to_mask(values, (1, 3)).tolist() == [[True, False, True]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "list of bytes"),
        ("text", "list of bytes"),
        ([0, 0, 0, 12, 300, 0, 0], "list of bytes"),
        ([0, 0, 0, 12, 0.5, 0, 0], "list of bytes"),
        ([[1, 2], [3]], "list of bytes"),
        (brush([([7] * 12, True)], 16), "the brush has 4 pixels"),
        (brush([([7] * 12, True)], 12)[:-2], "cut short"),
        (brush([([7] * 8, True)], 12), "cut short or damaged"),
        (brush([([7] * 13, True)], 12), "cut short or damaged"),
        ([255, 255, 255, 255, 57, 27, 255], "pixels, but the image"),
    ],
)
def test_a_damaged_brush_is_refused(values: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        brush_to_mask(values, (1, 3))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([4, 3], "add up to 7 pixels, but it is 4 x 2"),
        ([4, 5], "add up to 9"),
        ([9, -1], "0 and more"),
        ([10**30, 8], "0 and more"),
        ([float("nan"), 8], "whole numbers"),
        ([4, float("inf")], "whole numbers"),
        ([3.5, 4.5], "whole numbers"),
        ([[4], [4]], "whole numbers"),
        ([4, "x"], "numbers"),
        ([4, {}], "numbers"),
        ([10**400], "numbers"),
        ([], "add up to 0"),
        (None, "as a list or as text"),
        (8, "as a list or as text"),
        ("4", "add up to 4"),
        ("44P", "cut short"),
        ("4 4", "the character"),
        ("é", "the character"),
        ("oooooooooooooooo", "too large"),
        ("H", "0 and more"),
    ],
)
def test_counts_of_anything_else_are_refused(counts: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked_counts(counts, (2, 4))


def test_counts_may_be_floats_or_text() -> None:
    assert checked_counts([4.0, "4"], (2, 4)).tolist() == checked_counts("44", (2, 4)).tolist() == [4, 4]
