from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from deft.contracts import InputError, SeedMaps
from deft.thresholds import (
    CRITERIA,
    Choice,
    MapStatistics,
    best_of,
    choose,
    choose_confident,
    choose_refined,
    needed,
)
from deft.thresholds.criterion import FLAT, between_class_variance, coverage_curve, three_class_otsu

SIDE = 96


@cache
def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two red discs on green, their cells, and a map that is 0.5 on their rim and changes slowly across it."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside, hint = np.zeros((SIDE, SIDE), dtype=bool), np.zeros((SIDE, SIDE))
    for _ in range(2):
        radius = rng.uniform(12, 20)
        y, x = rng.uniform(radius, SIDE - radius, 2)
        away = np.hypot(rows - y, columns - x)
        inside |= away < radius
        hint = np.maximum(hint, 1 / (1 + np.exp((away - radius) / 6)))
    colours = np.where(inside[..., None], (200, 60, 50), (60, 140, 60))
    image = np.clip(rng.normal(colours, 14), 0, 255).astype(np.uint8)
    return image, inside[::4, ::4], np.clip(hint + rng.normal(0, 0.03, hint.shape), 0, 1)[::4, ::4]


def stored(maps: np.ndarray, power: float = 1.0) -> np.ndarray:
    """A map divided by its largest value, raised to a power, and rounded to 8 bits."""
    return np.rint(255 * (maps / maps.max()) ** power) / 255


def of_scenes(power: float = 1.0, count: int = 6, paint: int | None = None) -> MapStatistics:
    """Statistics of several scenes; ``paint`` replaces all their colours by one grey level."""
    total = MapStatistics.empty()
    for seed in range(count):
        image, _, maps = scene(seed)
        plane = torch.from_numpy(stored(maps, power).astype(np.float32))
        total = total + MapStatistics.of(
            SeedMaps((0,), plane[None], (SIDE, SIDE)), image if paint is None else np.full_like(image, paint)
        )
    return total


def masks(threshold: float, power: float = 1.0) -> np.ndarray:
    """Cells above the threshold, of all scenes in a row."""
    return np.concatenate([(stored(scene(seed)[2], power) > threshold).ravel() for seed in range(6)])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def histogram(values: list[float]) -> np.ndarray:
    return np.bincount(np.rint(255 * np.array(values)).astype(int), minlength=256)


def slow_otsu(counts: np.ndarray) -> list[float]:
    """Variance between the values above and below each threshold, divided by the total variance."""
    values = [level / 255 for level in range(256) for _ in range(counts[level])]
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values)
    found = []
    for step in range(100):
        sides = [[value for value in values if (value > step / 100) == above] for above in (False, True)]
        apart = sum(len(side) * (sum(side) / len(side) - mean) ** 2 for side in sides if side)
        found.append(apart / spread if all(sides) else 0.0)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_between_class_variance_equals_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.where(rng.random(90) < 0.3, rng.integers(120, 256, 90), rng.integers(0, (30, 140, 256)[seed], 90))
    counts = np.bincount(levels[levels % 51 != 0], minlength=256)  # float32 and float64 order these alike
    assert between_class_variance(counts) == pytest.approx(slow_otsu(counts), abs=1e-9)


def test_two_values_are_separated_completely_and_a_single_value_has_no_variance() -> None:
    two = between_class_variance(histogram([0.2] * 30 + [0.8] * 10))
    assert two[20:80] == pytest.approx(np.ones(60))
    assert not two[:20].any() and not two[80:].any()
    for counts in (histogram([0.4] * 20), histogram([0.0]), np.zeros(256, dtype=np.int64)):
        assert not between_class_variance(counts).any()


def test_three_classes_are_separated_at_the_gaps_between_them() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(low, low + 0.1, 50) for low in (0.05, 0.4, 0.85)])
    high, low = three_class_otsu(histogram(list(values)))
    assert 0.14 <= low < 0.41 and 0.49 <= high < 0.86


def test_the_threshold_separates_objects_of_a_distinct_colour() -> None:
    choice = choose(of_scenes())
    assert choice is not None and choice.images == 6
    truth = np.concatenate([scene(seed)[1].ravel() for seed in range(6)])
    assert overlap(masks(choice.threshold), truth) > 0.85
    assert choice.low <= choice.threshold <= choice.high


@pytest.mark.parametrize("power", [0.5, 2.0, 3.0])
def test_masks_hardly_change_when_maps_are_raised_to_a_power(power: float) -> None:
    """A power keeps the order of values. At most 2 % of the cells change here; with Otsu alone 10 % to 15 %."""
    plain, raised = choose(of_scenes()), choose(of_scenes(power))
    assert plain is not None and raised is not None
    assert abs(plain.threshold - raised.threshold) > 0.1
    one, other = masks(plain.threshold), masks(raised.threshold, power)
    assert (one != other).mean() < 0.03
    assert overlap(one, other) > 0.85
    truth = np.concatenate([scene(seed)[1].ravel() for seed in range(6)])
    assert overlap(other, truth) > 0.8
    alone = masks(best_of("Otsu", of_scenes())), masks(best_of("Otsu", of_scenes(power)), power)
    assert (alone[0] != alone[1]).mean() > 0.09


def test_the_score_is_the_product_of_both_criteria_and_the_range_is_within_2_percent_of_it() -> None:
    statistics = of_scenes()
    otsu = [
        value / max(between_class_variance(statistics.counts)) for value in between_class_variance(statistics.counts)
    ]
    colours = [value / max(statistics.information) for value in statistics.information]
    score = [one * other for one, other in zip(otsu, colours, strict=True)]
    choice = choose(statistics)
    assert choice is not None
    assert score[round(100 * choice.threshold)] == pytest.approx(max(score))
    good = [step / 100 for step in range(100) if score[step] >= FLAT * max(score)]
    assert (choice.low, choice.high) == (good[0], good[-1])
    assert choice.threshold == best_of("both", statistics)


def test_the_middle_of_equally_good_thresholds_is_chosen() -> None:
    """There are no values between 0.2 and 0.8: the threshold is halfway."""
    levels = np.where(np.arange(64).reshape(8, 8) % 8 < 3, 204, 51)
    image = np.where(levels.repeat(4, 0).repeat(4, 1)[..., None] == 204, (255, 0, 0), (0, 0, 255)).astype(np.uint8)
    maps = torch.from_numpy((levels / 255).astype(np.float32))[None]
    choice = choose(MapStatistics.of(SeedMaps((0,), maps, (32, 32)), image))
    assert choice == Choice(0.49, 0.20, 0.79, 1)


def test_without_colours_the_maps_alone_decide() -> None:
    """All pixels are in one bin of colour, as in dark or pale images; the maps alone decide."""
    statistics = of_scenes(paint=20)
    assert not statistics.information.any()
    choice = choose(statistics)
    assert choice is not None
    assert choice.threshold == best_of("Otsu", statistics)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_maps_give_no_choice_and_are_refused(value: float) -> None:
    maps = torch.full((2, SIDE // 4, SIDE // 4), value)
    for statistics in (MapStatistics.of(SeedMaps((0, 1), maps, (SIDE, SIDE)), scene(0)[0]), MapStatistics.empty()):
        assert choose(statistics) is None
        with pytest.raises(InputError, match="expected class maps to choose the thresholds of the confident labels"):
            choose_confident(statistics)
    with pytest.raises(InputError) as told:
        needed(None, "seed_threshold")
    assert "to choose seed_threshold from, got maps that have one value everywhere" in str(told.value)
    assert str(told.value).endswith("; train the classifier for longer, or set numbers instead of auto")
    with pytest.raises(InputError, match=r"from, got no image with a class; look at them$"):  # numbers would not help
        needed(None, "seed_threshold", 0, "look at them")
    assert needed(choice := Choice(0.2, 0.1, 0.3, 4), "x") is choice


def slow_share(counts: np.ndarray, step: int) -> float:
    return sum(int(counts[level]) for level in range(256) if np.float32(level / 255) > np.float32(step / 100)) / sum(
        counts.tolist()
    )


def test_the_coverage_curve_is_the_share_of_cells_above_each_threshold() -> None:
    counts = of_scenes().counts
    assert coverage_curve(counts) == pytest.approx([slow_share(counts, step) for step in range(100)])
    assert not coverage_curve(np.zeros(256, dtype=np.int64)).any()


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0, 1.5, 2.0, 4.0])
def test_refined_maps_cover_as_many_cells_as_their_seeds(power: float) -> None:
    """The threshold whose share of cells is closest to that of the seeds, here for powers of the seeds."""
    seeds, refined = of_scenes(), of_scenes(power)
    first, choice = choose(seeds), choose_refined(refined, seeds)
    assert first is not None and choice is not None
    wanted = slow_share(seeds.counts, round(100 * first.threshold))
    off = [abs(slow_share(refined.counts, step) - wanted) for step in range(100)]
    assert off[round(100 * choice.threshold)] == pytest.approx(min(off))
    assert choice.low <= choice.threshold <= choice.high
    assert choice.images == refined.images
    assert (masks(first.threshold) != masks(choice.threshold, power)).mean() < 0.02


def test_the_range_of_refined_maps_corresponds_to_that_of_the_seeds() -> None:
    seeds = of_scenes()
    first, choice = choose(seeds), choose_refined(seeds, seeds)
    assert first is not None and choice is not None
    assert (choice.low, choice.threshold, choice.high) == pytest.approx(
        (first.low, first.threshold, first.high), abs=0.02
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_is_chosen_for_arbitrary_refined_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    refined = MapStatistics(rng.integers(0, 9, 256) * (rng.random(256) < 0.1), np.zeros(100), 4)
    choice = choose_refined(refined, of_scenes())
    assert choice is not None
    assert 0 <= choice.low <= choice.threshold <= choice.high < 1


def test_constant_seeds_or_refined_maps_give_no_choice() -> None:
    maps = torch.full((1, SIDE // 4, SIDE // 4), 0.4)
    flat = MapStatistics.of(SeedMaps((0,), maps, (SIDE, SIDE)), scene(0)[0])
    assert choose_refined(of_scenes(), flat) is None
    assert choose_refined(flat, of_scenes()) is None
    assert choose_refined(MapStatistics.empty(), of_scenes()) is None


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0, 9.0])
def test_confident_thresholds_are_on_either_side_of_the_chosen_one(power: float) -> None:
    choice = choose(of_scenes(power))
    assert choice is not None
    sure, background = choose_confident(of_scenes(power))
    assert 0 <= background <= choice.threshold <= sure < 1
    assert sure > background
    assert choose_confident(of_scenes(power)) == (sure, background)


@pytest.mark.parametrize("seed", range(20))
def test_confident_thresholds_are_in_order_for_arbitrary_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice(256, size=rng.integers(2, 6), replace=False)
    maps = torch.from_numpy((rng.choice(values, (1, 12, 12)) / 255).astype(np.float32))
    image = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    statistics = MapStatistics.of(SeedMaps((0,), maps, (48, 48)), image)
    choice = choose(statistics)
    assert choice is not None
    sure, background = choose_confident(statistics)
    assert 0 <= background <= choice.threshold <= sure < 1
    assert round(100 * sure) == pytest.approx(100 * sure) and round(100 * background) == pytest.approx(100 * background)


def test_a_side_with_a_single_value_is_all_confident() -> None:
    maps = torch.zeros(1, 8, 8)
    maps[:, :4] = 1
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[:16] = 255
    statistics = MapStatistics.of(SeedMaps((0,), maps, (32, 32)), image)
    choice = choose(statistics)
    assert choice is not None
    assert choose_confident(statistics) == (choice.threshold, choice.threshold)


def test_the_study_compares_the_combined_score_with_simpler_criteria() -> None:
    assert list(CRITERIA) == ["both", "colours", "Otsu", "mean"]
    statistics = of_scenes()
    assert best_of("colours", statistics) == np.argmax(statistics.information) / 100
    mean = float((statistics.counts * np.arange(256)).sum() / statistics.counts.sum() / 255)
    assert best_of("mean", statistics) == pytest.approx(mean, abs=0.005 + 1e-9)
