from __future__ import annotations

import numpy as np
import pytest
import torch

from deft.contracts import InputError, SeedMaps
from deft.refine.labels import ConfidentLabels
from deft.settings import plain, restore
from deft.thresholds import AUTO, MapStatistics, Threshold, choose, choose_confident


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


def test_the_stride_stays_in_records() -> None:
    """Keys of labels that were made are hashes of it."""
    recorded = plain(ConfidentLabels(fg=0.3, bg=0.05))
    assert recorded["class"] == "deft.refine.labels.ConfidentLabels" and recorded["stride"] == 4
    assert restore(recorded) == ConfidentLabels(fg=0.3, bg=0.05)
