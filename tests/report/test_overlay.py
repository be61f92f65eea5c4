from __future__ import annotations

import numpy as np
import pytest

from deft.artifacts import palette
from deft.report.overlay import contours, heat_over_image, legend, mask_to_rgb, overlay, seeds_over_image


def image(height: int = 12, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_mask_values_have_their_palette_colours() -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(mask_to_rgb(mask).reshape(-1, 3), palette())
    other = palette()[::-1].copy()
    assert np.array_equal(mask_to_rgb(mask, other).reshape(-1, 3), other)


def test_contours_equal_a_loop_over_neighbours() -> None:
    mask = np.random.default_rng(1).integers(0, 2, (6, 7)).astype(np.uint8)
    found = contours(mask)
    for y in range(6):
        for x in range(7):
            near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            expected = any(0 <= j < 6 and 0 <= i < 7 and mask[j, i] != mask[y, x] for j, i in near)
            assert found[y, x] == expected


def test_overlay_keeps_the_background_and_colours_the_rest() -> None:
    photo = image()
    mask = np.zeros((12, 16), np.uint8)
    assert np.array_equal(overlay(photo, mask), photo)
    mask[2:10, 2:12] = 1
    mixed = overlay(photo, mask, opacity=1.0)
    assert np.array_equal(mixed[4:8, 4:10], np.broadcast_to(palette()[1], (4, 6, 3)))
    assert np.array_equal(mixed[:, 14:], photo[:, 14:])


def test_overlay_with_names_has_a_legend_below() -> None:
    mask = np.ones((40, 200), np.uint8)
    photo = image(40, 200)
    named = overlay(photo, mask, names=["<b>猫</b>" * 50])
    assert named.shape[0] > 40
    assert named.shape[1:] == (200, 3)
    assert np.array_equal(named[:40], overlay(photo, mask))
    assert (named[40:] == palette()[1]).all(axis=2).any()
    assert overlay(photo, np.full((40, 200), 9, np.uint8), names=["one"]).shape[0] > 40


def test_legend_wraps_to_any_width() -> None:
    names = [f"class {i}" for i in range(20)]
    wide, narrow = legend(names, palette()[1:21], 2000), legend(names, palette()[1:21], 200)
    assert narrow.shape[0] > wide.shape[0]
    assert legend(["name\n\x00"], palette()[1:2], 8).shape[1] == 8


def test_seeds_are_shown_in_the_colour_of_their_class() -> None:
    maps = np.zeros((1, 2, 2), np.float32)
    dark = seeds_over_image(image(), maps, [0])
    maps[0, :, 0] = 1.0
    lit = seeds_over_image(image(), maps, [0])
    assert np.array_equal(lit[:, 15], dark[:, 15])
    assert lit[:, 0, 0].mean() > lit[:, 0, 1].mean() + 50
    assert seeds_over_image(image(), np.zeros((0, 2, 2), np.float32), []).shape == (12, 16, 3)


def test_heat_is_transparent_at_0() -> None:
    none, all_ = heat_over_image(image(), np.zeros((3, 4), np.float32)), heat_over_image(image(), np.ones((3, 4)))
    assert np.ptp(none.astype(int), axis=2).max() == 0
    assert all_[..., 0].mean() > all_[..., 2].mean()


def test_wrong_shapes_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="resize the mask"):
        overlay(image(), np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="one map per class"):
        seeds_over_image(image(), np.zeros((2, 2, 2), np.float32), [0])
