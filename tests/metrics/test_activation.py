from __future__ import annotations

import numpy as np
import pytest

from deft.metrics.activation import Regions, average_activation, on_grid, pearson, regions


def test_means_equal_a_loop_over_cells() -> None:
    rng = np.random.default_rng(0)
    activation = [rng.normal(size=(3, 4)).astype(np.float32) for _ in range(5)]
    masks = [rng.integers(0, 3, size=(9, 8)).astype(np.uint8) for _ in range(5)]
    masks[0][:] = 0  # no object in it
    inside, outside = [], []
    for values, mask in zip(activation, masks, strict=True):
        fg = [values[y, x] for y in range(3) for x in range(4) if mask[3 * y, 2 * x] > 0]
        bg = [values[y, x] for y in range(3) for x in range(4) if mask[3 * y, 2 * x] == 0]
        inside += [np.mean(fg)] if fg else []
        outside += [np.mean(bg)] if bg else []
    afa, aba, images, grounds = average_activation(activation, [regions(mask) for mask in masks])
    assert (images, grounds) == (len(inside), len(outside))
    assert afa == pytest.approx(np.mean(inside), rel=1e-6)
    assert aba == pytest.approx(np.mean(outside), rel=1e-6)


def test_a_large_object_counts_as_much_as_a_small_one() -> None:
    small, large = np.zeros((4, 4), dtype=np.uint8), np.ones((4, 4), dtype=np.uint8)
    small[0, 0], large[0, 0] = 1, 0
    values = [np.where(mask > 0, at, 0).astype(np.float32) for mask, at in ((small, 1.0), (large, 3.0))]
    assert average_activation(values, [regions(small), regions(large)])[0] == 2.0


def test_ignored_pixels_are_in_no_region() -> None:
    mask = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    every, second = regions(mask), regions(mask, target=1)
    assert every.foreground.tolist() == [[False, True, True, False]]
    assert every.background.tolist() == [[True, False, False, False]]
    assert second.foreground.tolist() == [[False, False, True, False]]


def test_the_background_of_a_pair_is_its_context() -> None:
    mask, context = np.array([[0, 0, 1]], dtype=np.uint8), np.array([[1, 2, 0]], dtype=np.uint8)
    assert regions(mask, 0, context, context_index=1).background.tolist() == [[False, True, False]]
    with pytest.raises(ValueError, match="mask's size"):
        regions(mask, 0, context[:, :2])


def test_on_grid_samples_the_nearest_pixel() -> None:
    region = np.arange(12).reshape(3, 4) % 2 == 0
    assert on_grid(region, (3, 4)).tolist() == region.tolist()
    assert on_grid(region, (1, 2)).tolist() == [[True, True]]


def test_the_average_of_an_empty_region_is_nan() -> None:
    nothing = np.zeros((2, 2), dtype=bool)
    afa, aba, images, grounds = average_activation([np.ones((2, 2), dtype=np.float32)], [Regions(nothing, nothing)])
    assert np.isnan([afa, aba]).all()
    assert (images, grounds) == (0, 0)
    with pytest.raises(ValueError, match="one Regions per image"):
        average_activation([], [Regions(nothing, nothing)])


def test_pearson_equals_numpy_and_is_nan_for_a_constant_curve() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 9))
    assert pearson(x.tolist(), y.tolist()) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pearson([*x, np.nan], [*y, 1.0]) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3]))
    assert np.isnan(pearson([1], [2]))
    with pytest.raises(ValueError, match="same length"):
        pearson([1], [1, 2])
