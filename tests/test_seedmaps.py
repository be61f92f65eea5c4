from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from deft.contracts import SeedMaps
from deft.metrics import THRESHOLDS
from deft.seedmaps import STRIDE, check_maps, enlarged, full_mask, grid, mask_values, strongest, to_mask, upsample

SIZES = [(1, 1), (4, 9), (5, 5), (21, 17), (22, 19), (23, 32), (24, 3)]
"""One cell; sides of k * 4 + 1, which end on a cell, and one, two and three pixels beyond one."""


def slow_upsample(cells: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """Each pixel from the four cells around it, the last ones beyond the grid."""
    full = np.zeros((len(cells), *size))
    for y in range(size[0]):
        for x in range(size[1]):
            top, left = y // stride, x // stride
            down, right = y % stride / stride, x % stride / stride
            below, beside = min(top + 1, cells.shape[1] - 1), min(left + 1, cells.shape[2] - 1)
            upper = cells[:, top, left] * (1 - right) + cells[:, top, beside] * right
            lower = cells[:, below, left] * (1 - right) + cells[:, below, beside] * right
            full[:, y, x] = upper * (1 - down) + lower * down
    return full


def slow_mask(maps: np.ndarray, classes: list[int], threshold: np.float32) -> np.ndarray:
    """Pixel by pixel: the first class of the largest score, where that is above the threshold."""
    mask = np.zeros(maps.shape[1:], dtype=np.uint8)
    for y in range(maps.shape[1]):
        for x in range(maps.shape[2]):
            best, value = threshold, 0
            for index, score in zip(classes, maps[:, y, x], strict=True):
                if score > best:
                    best, value = score, index + 1
            mask[y, x] = value
    return mask


def example(seed: int) -> tuple[np.ndarray, list[int]]:
    """Maps full of ties, of scores that equal a threshold, and of their neighbours; some of no class."""
    rng = np.random.default_rng(seed)
    classes = sorted(rng.choice(254, seed % 5, replace=False).tolist())
    few = THRESHOLDS[[0, 15, 30, 99]]
    edges = np.concatenate([few, np.nextafter(few, np.float32(2)), np.nextafter(few, np.float32(-1)), [1]])
    maps = rng.choice(edges.astype(np.float32), (len(classes), 9, 11))
    return maps, classes


def test_the_grid_has_a_cell_on_every_fourth_pixel() -> None:
    assert STRIDE == 4
    for height, width in SIZES:
        assert grid((height, width)) == (len(range(0, height, 4)), len(range(0, width, 4)))
        assert grid((height, width), 16) == (len(range(0, height, 16)), len(range(0, width, 16)))


@pytest.mark.parametrize("stride", [1, 4, 16])
@pytest.mark.parametrize("size", SIZES)
def test_upsampling_equals_a_loop_over_pixels(size: tuple[int, int], stride: int) -> None:
    seeds = SeedMaps((0, 5), torch.rand(2, *grid(size, stride)), size)
    full = upsample(seeds, stride)
    assert full.dtype == torch.float32 and full.shape == (2, *size)
    np.testing.assert_allclose(full.numpy(), slow_upsample(seeds.maps.double().numpy(), size, stride), atol=1e-6)
    assert torch.equal(full[:, ::stride, ::stride], seeds.maps)
    assert full.min() >= seeds.maps.min() and full.max() <= seeds.maps.max()


def test_between_cells_the_maps_are_linear() -> None:
    rows = torch.arange(5.0)[:, None] * 4 + torch.arange(4.0) * 8
    full = upsample(SeedMaps((1,), rows[None], (17, 13)))[0]
    torch.testing.assert_close(full, torch.arange(17.0)[:, None] + torch.arange(13.0) * 2, rtol=1e-5, atol=1e-4)


def test_maps_of_no_class_are_upsampled_to_none() -> None:
    assert upsample(SeedMaps((), torch.zeros(0, 2, 2), (5, 6))).shape == (0, 5, 6)


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 8, 10), (0, 2, 2), (8, 11)])
def test_maps_on_another_grid_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"seeds \(P, 8, 11\) for .* 30 x 41 at stride 4, got .*grid\(\(30, 41\)\)"):
        upsample(SeedMaps((0,), torch.zeros(shape), (30, 41)))


@pytest.mark.parametrize("seed", range(10))
def test_a_mask_equals_a_loop_over_pixels(seed: int) -> None:
    maps, classes = example(seed)
    given = maps.copy()
    for threshold in THRESHOLDS[[0, 1, 15, 30, 99]]:
        mask = to_mask(maps, classes, float(threshold))
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, slow_mask(maps, classes, threshold))
        np.testing.assert_array_equal(to_mask(torch.from_numpy(maps), classes, float(threshold)), mask)
    np.testing.assert_array_equal(maps, given)


@pytest.mark.parametrize("seed", range(10))
def test_the_strongest_map_is_the_first_of_the_highest(seed: int) -> None:
    maps, classes = example(seed)
    for given in (maps, torch.from_numpy(maps)):
        place, score = strongest(given)
        assert place.dtype == np.uint8 and score.dtype == np.float32
        assert place.shape == score.shape == (9, 11)
        if classes:
            np.testing.assert_array_equal(place, maps.argmax(0))
            np.testing.assert_array_equal(score, maps.max(0))
        else:
            assert not place.any() and not score.any()


def test_a_mask_equals_argmax_with_a_background_plane() -> None:
    maps = torch.rand(3, 9, 8)
    stacked = torch.cat([torch.full((1, 9, 8), 0.6), maps]).argmax(0)
    np.testing.assert_array_equal(to_mask(maps, (2, 4, 19), 0.6), np.array([0, 3, 5, 20])[stacked.numpy()])


def test_equality_is_background_and_is_judged_in_float32() -> None:
    assert not to_mask(torch.full((1, 2, 2), 0.6), (0,), 0.6).any()
    assert not to_mask(np.full((1, 2, 2), 0.6 + 1e-10), (0,), 0.6).any()
    above = np.nextafter(np.float32(0.6), np.float32(1))
    assert to_mask(np.full((1, 2, 2), above), (0,), 0.6).all()


def test_of_equal_maps_the_first_wins_in_the_order_given() -> None:
    equal = np.full((3, 2, 2), 0.5, dtype=np.float32)
    assert (to_mask(equal, (1, 4, 7), 0.3) == 2).all()
    assert (to_mask(equal, (7, 4, 1), 0.3) == 8).all()


def test_no_class_is_background_and_the_last_is_254() -> None:
    for none in (np.zeros((0, 2, 3), np.float32), torch.zeros(0, 2, 3)):
        assert to_mask(none, (), 0.0).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert to_mask(torch.ones(1, 1, 1), (253,), 0.5).item() == 254


def test_any_layout_and_tensors_that_learn_are_read() -> None:
    maps, classes = example(4)
    expected = to_mask(maps, classes, 0.3)
    tensor = torch.from_numpy(np.ascontiguousarray(maps.transpose(2, 1, 0))).permute(2, 1, 0)
    np.testing.assert_array_equal(to_mask(tensor, classes, 0.3), expected)
    np.testing.assert_array_equal(to_mask(tensor.clone().requires_grad_(), classes, 0.3), expected)
    np.testing.assert_array_equal(to_mask(maps[:, ::-1, ::-1], classes, 0.3), expected[::-1, ::-1])


def test_mask_values_turn_choices_into_a_mask() -> None:
    assert mask_values((2, 4, 253)).tolist() == [0, 3, 5, 254]
    assert mask_values((2, 4))[np.array([[0, 2], [1, 0]])].tolist() == [[0, 5], [3, 0]]
    assert mask_values(()).tolist() == [0]


def test_errors_name_the_shape_and_the_classes_expected() -> None:
    two = np.zeros((2, 4, 4), np.float32)
    with pytest.raises(ValueError, match=r"expected maps \(3, H, W\), one for each of 3 classes, got \(2, 4, 4\)"):
        to_mask(two, (0, 1, 2), 0.5)
    with pytest.raises(ValueError, match=r"expected maps \(1, H, W\).* got \(4, 4\)"):
        to_mask(torch.zeros(4, 4), (0,), 0.5)
    with pytest.raises(ValueError, match=r"distinct 0-based class indices below 254, got \(3, 3\)"):
        to_mask(two, (3, 3), 0.5)
    with pytest.raises(ValueError, match=r"indices below 254, got \(0, 254\)"):
        to_mask(two, (0, 254), 0.5)
    with pytest.raises(ValueError, match=r"indices below 2, got \(1, 2\)"):
        check_maps(two, (1, 2), num_classes=2)
    for wrong in ((4, 4), (255, 1, 1)):
        with pytest.raises(ValueError, match=r"expected maps \(P, H, W\) of at most 254 classes, got"):
            strongest(np.zeros(wrong, np.float32))


@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_refused_wherever_it_is(place: int) -> None:
    maps = np.zeros((2, 3, 3), np.float32)
    maps[1 - place] = 0.9
    maps[place, 1, 2] = np.nan
    for given in (maps, torch.from_numpy(maps)):
        with pytest.raises(ValueError, match="a map contains nan: the network that made it diverged"):
            to_mask(given, (0, 1), 0.5)
        with pytest.raises(ValueError, match="a map contains nan"):
            strongest(given)


def test_metrics_do_without_torch() -> None:
    code = "import sys, deft.metrics, deft.seedmaps; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded == "False\n"


def test_an_image_that_is_the_photograph_has_the_mask_of_its_pixels() -> None:
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.random((3, *grid((37, 50)))).astype(np.float32))
    for photograph in (None, (37, 50)):
        seeds = SeedMaps((0, 2, 5), maps, (37, 50), photograph=photograph)
        ((rows, whole),) = enlarged(seeds)
        assert rows == slice(0, 37) and torch.equal(whole, upsample(seeds))
        np.testing.assert_array_equal(full_mask(seeds, 0.6), to_mask(upsample(seeds), seeds.classes, 0.6))


@pytest.mark.parametrize("photograph", [(370, 500), (371, 499), (3000, 40), (38, 51)])
@pytest.mark.parametrize("floats", [1, 4000, 8_000_000])
def test_scores_are_enlarged_to_the_photograph(
    photograph: tuple[int, int], floats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deft.seedmaps._BAND", floats)
    rng = np.random.default_rng(1)
    maps = torch.from_numpy(rng.random((2, *grid((37, 50)))).astype(np.float32))
    seeds = SeedMaps((1, 3), maps, (37, 50), photograph=photograph)
    small = upsample(seeds)
    expected = torch.nn.functional.interpolate(small[None], size=photograph, mode="bilinear", align_corners=False)[0]
    if floats == 1:  # a row at a time
        photograph_rows = [rows for rows, _ in enlarged(seeds)]
        assert photograph_rows == [slice(top, top + 1) for top in range(photograph[0])]
    found = torch.cat([band for _, band in enlarged(seeds)], dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    mask = full_mask(seeds, 0.5)
    assert mask.shape == photograph and mask.dtype == np.uint8
    clear = (expected[0] - expected[1]).abs() > 1e-4
    clear &= (expected.max(dim=0).values - 0.5).abs() > 1e-4
    np.testing.assert_array_equal(mask[clear.numpy()], to_mask(expected, (1, 3), 0.5)[clear.numpy()])


def test_an_object_is_where_it_is_in_the_photograph() -> None:
    maps = torch.zeros(1, *grid((171, 256)))
    maps[0, 10:20, 30:50] = 1  # rows 40 to 76 and columns 120 to 196 of the image
    mask = full_mask(SeedMaps((4,), maps, (171, 256), photograph=(2000, 3000)), 0.5)
    rows, columns = np.nonzero(mask == 5)
    scale = 3000 / 256
    assert abs(rows.min() - 38.5 * scale) < 2 * scale and abs(rows.max() - 78.5 * scale) < 2 * scale
    assert abs(columns.min() - 118.5 * scale) < 2 * scale and abs(columns.max() - 198.5 * scale) < 2 * scale


def test_no_maps_are_a_mask_of_background() -> None:
    mask = full_mask(SeedMaps((), torch.zeros(0, *grid((5, 9))), (5, 9), photograph=(50, 90)), 0.2)
    assert mask.shape == (50, 90) and not mask.any()
