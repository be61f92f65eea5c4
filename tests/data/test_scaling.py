from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from deft.data.scaling import fitted, reduction, resized_mask, shrunk


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((4000, 6000), 1024, (683, 1024)),
        ((6000, 4000), 1024, (1024, 683)),
        ((1024, 768), 1024, (1024, 768)),
        ((1025, 1), 1024, (1024, 1)),
        ((1, 3000), 256, (1, 256)),
        ((3, 2000), 100, (1, 100)),
        ((7680, 10240), None, (7680, 10240)),
    ],
)
def test_fitted(size: tuple[int, int], most: int | None, expected: tuple[int, int]) -> None:
    assert fitted(size, most) == expected


def test_fitted_keeps_the_aspect_and_never_exceeds_the_bound() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        height, width, most = (int(value) for value in rng.integers(1, 9000, 3))
        most = max(32, most)
        found = fitted((height, width), most)
        if max(height, width) <= most:
            assert found == (height, width)
            continue
        assert max(found) == most
        assert found[::-1] == fitted((width, height), most)
        for side, new in zip((height, width), found, strict=True):
            exact = Fraction(side * most, max(height, width))
            assert abs(new - exact) <= Fraction(1, 2) or new == 1


@pytest.mark.parametrize(
    ("size", "wanted", "expected"),
    [
        ((4000, 6000), (683, 1024), 4),
        ((4000, 6000), (500, 750), 8),
        ((4001, 6001), (501, 751), 8),
        ((4000, 6000), (501, 751), 4),
        ((2000, 2000), (1000, 1000), 2),
        ((2000, 2000), (1001, 1001), 1),
        ((1, 3000), (1, 256), 1),
        ((64, 3000), (5, 256), 8),
        ((3000, 63), (256, 5), 1),
    ],
)
def test_reduction_covers_what_is_wanted(size: tuple[int, int], wanted: tuple[int, int], expected: int) -> None:
    assert reduction(size, wanted) == expected


def test_an_image_that_fits_is_the_same_array() -> None:
    image = np.zeros((40, 30, 3), dtype=np.uint8)
    assert shrunk(image, 40) is image and shrunk(image, None) is image
    mask = image[..., 0]
    assert resized_mask(mask, (40, 30)) is mask


def test_shrinking_averages() -> None:
    stripes = np.zeros((400, 400, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    small = shrunk(stripes, 100)
    assert small.shape == (100, 100, 3)
    assert np.abs(small[:, 2:-2].astype(int) - 100).max() <= 2


@pytest.mark.parametrize("size", [(3, 3), (2, 5), (9, 18), (1, 1), (7, 2)])
def test_masks_take_the_value_under_the_centre(size: tuple[int, int]) -> None:
    mask = np.arange(9 * 6, dtype=np.uint8).reshape(9, 6)
    found = resized_mask(mask, size)
    for row in range(size[0]):
        for column in range(size[1]):
            y, x = Fraction(2 * row + 1, 2) * 9 / size[0], Fraction(2 * column + 1, 2) * 6 / size[1]
            assert found[row, column] == mask[int(y), int(x)]
