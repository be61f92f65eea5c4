from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import read_json, write_json
from deft.contracts import Dataset, InputError, Sample, SeedMaps
from deft.metrics import THRESHOLDS
from deft.thresholds import MapStatistics, kept_statistics, measure, stored_statistics
from deft.thresholds.statistics import STEPS, information

SIZES = [(20, 24), (17, 33), (8, 8), (40, 12), (31, 30), (16, 16), (25, 9)]


class Pictures:
    """A minimal dataset of noise images of several sizes."""

    def __init__(self, delays: bool = False) -> None:
        self.names = tuple(f"picture {n}" for n in range(len(SIZES)))
        self.delays = delays
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(SIZES)

    def __getitem__(self, index: int) -> Sample:
        self.read.append(index)
        if self.delays:
            time.sleep(random.random() * 0.02)
        image = np.random.default_rng(index).integers(0, 256, (*SIZES[index], 3), dtype=np.uint8)
        return Sample(self.names[index], image, np.array([True, True]))

    def seeds(self, index: int) -> SeedMaps:
        """Two maps for all images but the third, which has none."""
        height, width = SIZES[index]
        classes = () if index == 2 else (0, 1)
        generator = torch.Generator().manual_seed(index)
        maps = torch.rand(len(classes), (height - 1) // 4 + 1, (width - 1) // 4 + 1, generator=generator)
        return SeedMaps(classes, torch.round(maps * 255) / 255, (height, width))


def entropy(counts: Counter[object]) -> float:
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values())


def slow_information(levels: list[int], colours: list[int]) -> list[float]:
    """H(above) + H(colour) - H(above, colour), counted cell by cell for each threshold."""
    found = []
    for threshold in THRESHOLDS:
        sides = [np.float32(level / 255) > threshold for level in levels]
        pairs = Counter(zip(sides, colours, strict=True))
        found.append(entropy(Counter(sides)) + entropy(Counter(colours)) - entropy(Counter(pairs)))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_information_equals_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = (1, 7, 60, 200)[seed]
    levels, colours = rng.integers(0, 256, count), rng.integers(0, 5, count) * 37
    levels = np.where(colours > 70, levels, levels // 3)
    assert information(levels, colours) == pytest.approx(slow_information(levels.tolist(), colours.tolist()), abs=1e-12)


def test_colours_independent_of_the_map_have_no_information() -> None:
    levels = np.repeat(np.arange(256), 3)
    colours = np.tile(np.array([4, 0, 511]), 256)
    assert information(levels, colours) == pytest.approx(np.zeros(100), abs=1e-12)
    assert not information(levels, np.zeros_like(levels)).any()


def test_two_equal_halves_of_different_colours_have_the_information_log_2() -> None:
    """The upper half has one colour, the lower another: log 2 if the threshold separates them, less otherwise."""
    levels = np.concatenate([np.arange(100), np.arange(156, 256)])
    found = information(levels, (levels > 127).astype(int))
    parted = (THRESHOLDS > 99 / 255) & (THRESHOLDS < 156 / 255)
    assert found[parted] == pytest.approx(np.full(parted.sum(), math.log(2)))
    assert (found[~parted] < math.log(2) - 1e-3).all() and (found >= 0).all()


def test_thresholds_with_all_cells_on_one_side_have_no_information() -> None:
    levels, colours = np.array([128, 128, 128, 204]), np.array([1, 2, 3, 4])
    found = information(levels, colours)
    assert not found[:51].any()  # 0.00 to 0.50, and 128 / 255 is a little above
    assert (found[51:80] > 0.1).all()
    assert not found[80:].any()  # 204 / 255 is 0.8, not above it


def test_steps_equal_a_comparison_in_float32() -> None:
    for level in range(256):
        value = np.float32(level) / np.float32(255)
        assert STEPS[level] == sum(1 for threshold in THRESHOLDS if value > threshold)


def test_statistics_use_the_strongest_map_and_the_pixel_at_each_cell() -> None:
    data = Pictures()
    for index in (0, 1, 3):
        image, seeds = data[index].image, data.seeds(index)
        levels, colours = [], []
        for row in range(seeds.maps.shape[1]):
            for column in range(seeds.maps.shape[2]):
                levels.append(round(255 * max(float(plane[row, column]) for plane in seeds.maps)))
                red, green, blue = (int(value) // 32 for value in image[4 * row, 4 * column])
                colours.append((red, green, blue))
        found = MapStatistics.of(seeds, image)
        assert found.counts.tolist() == [levels.count(level) for level in range(256)]
        numbered = [sorted(set(colours)).index(colour) for colour in colours]
        assert found.information == pytest.approx(slow_information(levels, numbered), abs=1e-12)
        assert found.images == 1


def test_an_image_without_maps_does_not_count() -> None:
    found = MapStatistics.of(Pictures().seeds(2), Pictures()[2].image)
    assert (found.images, found.counts.sum(), found.information.any()) == (0, 0, False)


def test_statistics_of_a_dataset_do_not_depend_on_the_timing_of_threads() -> None:
    plain = Pictures()
    total = MapStatistics.empty()
    for index in range(len(plain)):
        total = total + MapStatistics.of(plain.seeds(index), plain[index].image)
    assert total.images == len(plain) - 1
    for _ in range(3):
        data = Pictures(delays=True)
        found = measure(data, data.seeds)  # type: ignore[arg-type]
        assert sorted(data.read) == list(range(len(data)))
        assert found.counts.tolist() == total.counts.tolist()
        assert found.information.tolist() == total.information.tolist()  # to the last bit
        assert found.images == total.images


def test_json_round_trip() -> None:
    data = Pictures()
    found = MapStatistics.of(data.seeds(0), data[0].image) + MapStatistics.of(data.seeds(1), data[1].image)
    again = MapStatistics.from_json(json.loads(json.dumps(found.to_json())))
    assert again.counts.tolist() == found.counts.tolist() and again.counts.dtype == found.counts.dtype
    assert again.information == pytest.approx(found.information, abs=1e-9)
    assert again.images == found.images
    assert MapStatistics.from_json(again.to_json()).to_json() == again.to_json()  # nothing more is lost


def kept(path: Path, made_by: str, data: Dataset) -> MapStatistics:
    return kept_statistics(path, made_by, data, data.seeds)  # type: ignore[attr-defined]


def test_statistics_are_measured_once_and_again_for_other_maps(tmp_path: Path) -> None:
    path = tmp_path / "seeds" / "statistics.json"
    path.parent.mkdir()
    data = Pictures()
    first = kept(path, "one", data)  # type: ignore[arg-type]
    assert len(data.read) == len(data)
    assert read_json(path)["made_by"] == "one"
    written = path.stat().st_mtime_ns
    again = kept(path, "one", data)  # type: ignore[arg-type]
    assert len(data.read) == len(data) and path.stat().st_mtime_ns == written
    assert again.to_json() == first.to_json()

    kept(path, "other", data)  # type: ignore[arg-type]
    assert len(data.read) == 2 * len(data)
    assert read_json(path)["made_by"] == "other"


def test_statistics_just_measured_equal_those_read_back(tmp_path: Path) -> None:
    """So a resumed run, and every process of a run, makes the same choice."""
    data = Pictures()
    first = kept(tmp_path / "statistics.json", "one", data)  # type: ignore[arg-type]
    again = kept(tmp_path / "statistics.json", "one", data)  # type: ignore[arg-type]
    assert first.information.tolist() == again.information.tolist()
    changed = {**read_json(tmp_path / "statistics.json"), "images": 99}
    write_json(tmp_path / "statistics.json", changed)
    assert kept(tmp_path / "statistics.json", "one", data).images == 99  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        {"counts": [1], "information": [0.0] * 100, "images": 1},
        {"counts": [1] * 256, "information": [0.0] * 99, "images": 1},
        {"counts": [1] * 256, "information": [float("nan")] * 100, "images": 1},
        {"counts": ["a"] * 256, "information": [0.0] * 100, "images": 1},
        {"counts": [10**30] * 256, "information": [0.0] * 100, "images": 1},
        {"counts": [1] * 256, "information": [0.0] * 100, "images": None},
        {"images": 1},
    ],
)
def test_edited_statistics_are_told(value: dict[str, object], tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {**value, "made_by": "key"})
    with pytest.raises(InputError, match="expected the statistics of maps"):
        stored_statistics(tmp_path / "a.json", "key")
    write_json(tmp_path / "a.json", [value])
    assert stored_statistics(tmp_path / "a.json", "key") is None
