from __future__ import annotations

import numpy as np
import pytest
import torch

from deft.contracts import InputError, SeedMaps
from deft.refine.labels import ConfidentLabels, threshold, upsample_seeds
from deft.thresholds import AUTO, MapStatistics, Threshold, choose, choose_confident


def grid(size: tuple[int, int], stride: int = 4) -> tuple[int, int]:
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


@pytest.mark.parametrize("size", [(1, 1), (4, 9), (21, 17), (22, 19), (23, 32), (24, 3)])
def test_cells_are_centred_on_every_fourth_pixel(size: tuple[int, int]) -> None:
    seeds = SeedMaps((0, 5), torch.rand(2, *grid(size)), size)
    full = upsample_seeds(seeds)
    assert full.shape == (2, *size)
    torch.testing.assert_close(full[:, ::4, ::4], seeds.maps)
    assert full.min() >= seeds.maps.min() and full.max() <= seeds.maps.max()


def test_maps_are_linear_between_cells() -> None:
    rows = torch.arange(5.0)[:, None] * 4 + torch.arange(4.0) * 8
    full = upsample_seeds(SeedMaps((1,), rows[None], (17, 13)))[0]
    torch.testing.assert_close(full, torch.arange(17.0)[:, None] + torch.arange(13.0) * 2, rtol=1e-5, atol=1e-4)


def test_other_strides_are_upsampled_and_other_grids_refused() -> None:
    seeds = SeedMaps((0,), torch.rand(1, *grid((30, 41), 16)), (30, 41))
    assert upsample_seeds(seeds, 16).shape == (1, 30, 41)
    maps = torch.rand(1, 6, 7)
    torch.testing.assert_close(upsample_seeds(SeedMaps((0,), maps, (6, 7)), 1), maps)
    with pytest.raises(ValueError, match=r"stride 4 must be \(P, 8, 11\)"):
        upsample_seeds(seeds)
    assert upsample_seeds(SeedMaps((), torch.zeros(0, 2, 2), (5, 6))).shape == (0, 5, 6)


def test_threshold_equals_argmax_with_a_background_plane() -> None:
    maps = torch.rand(3, 9, 8)
    stacked = torch.cat([torch.full((1, 9, 8), 0.6), maps]).argmax(0)
    expected = np.array([0, 3, 5, 20])[stacked.numpy()]
    found = threshold(maps, (2, 4, 19), 0.6)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    assert not threshold(torch.full((1, 2, 2), 0.6), (0,), 0.6).any()
    assert not threshold(torch.zeros(0, 2, 2), (), 0.1).any()
    assert threshold(torch.ones(1, 1, 1), (253,), 0.5).item() == 254


def disc(side: int) -> tuple[np.ndarray, torch.Tensor]:
    """A red disc with a blue rim on green, and seeds with high values on the disc and medium ones on the rim."""
    rows, columns = np.mgrid[:side, :side]
    away = np.hypot(rows - side / 2, columns - side / 2) / side
    image = np.full((side, side, 3), (40, 140, 40), dtype=np.uint8)
    image[away < 0.4] = (40, 40, 200)
    image[away < 0.22] = (200, 40, 40)
    seeds = np.where(away < 0.22, 1.0, np.where(away < 0.4, 0.15, 0.0))
    return image, torch.from_numpy(seeds[::4, ::4].astype(np.float32))


def test_confident_labels_of_a_disc() -> None:
    image, seeds = disc(64)
    mask = ConfidentLabels(fg=0.30, bg=0.05)(image, SeedMaps((6,), seeds[None], (64, 64)))
    assert mask.dtype == np.uint8 and mask.shape == (64, 64)
    assert set(np.unique(mask)) == {0, 7, 255}
    assert (mask[24:40, 24:40] == 7).all()
    assert (mask[32, 12:15] == 255).all()
    assert mask[0, 0] == 0


def test_weak_seeds_give_no_confident_objects() -> None:
    image, seeds = disc(48)
    faint = SeedMaps((0, 2), torch.stack([seeds * 0.2, seeds * 0.1]), (48, 48))
    mask = ConfidentLabels(fg=0.30, bg=0.05)(image, faint)
    assert set(np.unique(mask)) <= {0, 255} and (mask == 255).any()


def test_an_image_without_classes_is_background() -> None:
    image, _ = disc(20)
    assert not ConfidentLabels()(image, SeedMaps((), torch.zeros(0, 5, 5), (20, 20))).any()


def of_discs() -> MapStatistics:
    """Statistics of discs whose seeds fade over the rim."""
    total = MapStatistics.empty()
    for side in (48, 64):
        image, seeds = disc(side)
        faint = torch.rand(seeds.shape, generator=torch.Generator().manual_seed(side)) * 0.1
        total = total + MapStatistics.of(SeedMaps((6,), (seeds * 0.8 + faint)[None], (side, side)), image)
    return total


FLAT = MapStatistics.of(SeedMaps((6,), torch.full((1, 4, 4), 0.5), (16, 16)), np.zeros((16, 16, 3), dtype=np.uint8))


def test_auto_must_be_settled_before_an_image_is_labelled() -> None:
    image, seeds = disc(48)
    for labels in (ConfidentLabels(), ConfidentLabels(fg=0.3), ConfidentLabels(bg=0.05)):
        assert labels.open
        with pytest.raises(ValueError, match=r"got auto; call settled\(\)"):
            labels(image, SeedMaps((6,), seeds[None], (48, 48)))
    assert not ConfidentLabels(fg=0.3, bg=0.05).open


def test_settled_labels_differ_only_in_the_chosen_thresholds() -> None:
    statistics = of_discs()
    sure, background = choose_confident(statistics)
    middle = choose(statistics)
    assert middle is not None and 0 < background < middle.threshold < sure < 1
    settled = ConfidentLabels(gt_prob=0.6, stride=8).settled(statistics)
    assert settled == ConfidentLabels(fg=sure, bg=background, gt_prob=0.6, stride=8)
    assert not settled.open and settled.settled(FLAT) is settled
    image, seeds = disc(64)
    mask = ConfidentLabels().settled(statistics)(image, SeedMaps((6,), seeds[None], (64, 64)))
    assert (mask[24:40, 24:40] == 7).all() and mask[0, 0] == 0


@pytest.mark.parametrize("fg", [AUTO, 0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("bg", [AUTO, 0.0, 0.01, 0.5, 0.99])
def test_a_given_threshold_is_kept_and_the_chosen_one_is_moved(fg: Threshold, bg: Threshold) -> None:
    if fg != AUTO and bg != AUTO and bg > fg:
        with pytest.raises(InputError, match=r"expected labels\.bg of at most labels\.fg, got"):
            ConfidentLabels(fg=fg, bg=bg)
        return
    settled = ConfidentLabels(fg=fg, bg=bg).settled(of_discs())
    sure, background = choose_confident(of_discs())
    assert isinstance(settled.fg, float) and isinstance(settled.bg, float)
    assert settled.bg <= settled.fg
    assert settled.fg == (fg if fg != AUTO else max(sure, settled.bg))
    assert settled.bg == (bg if bg != AUTO else min(background, settled.fg))


def test_flat_seeds_and_invalid_thresholds_are_refused() -> None:
    with pytest.raises(InputError, match="the thresholds of the confident labels from, got maps that have one value"):
        ConfidentLabels(bg=0.05).settled(FLAT)
    assert ConfidentLabels(fg=0.3, bg=0.05).settled(FLAT) == ConfidentLabels(fg=0.3, bg=0.05)
    for field in ("fg", "bg"):
        with pytest.raises(
            InputError, match=rf"expected labels\.{field} to be auto or one of 0\.00, 0\.01, .* got 1\.5"
        ):
            ConfidentLabels(**{field: 1.5})  # type: ignore[arg-type]
