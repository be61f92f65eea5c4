from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import load_mask, save_mask
from deft.contracts import Dataset, InputError, SeedMaps
from deft.data import open_data
from deft.engine.method import confident_indices, make_labels, settled, statistics_of
from deft.thresholds import MapStatistics, best_of


@dataclass
class Place:
    data: Dataset
    folder: Path
    made_by: str = "key"


def test_labels_are_made_once_for_every_image(folder_data: Path, tmp_path: Path) -> None:
    place = Place(open_data(f"folder:{folder_data}").train, tmp_path)
    asked: list[int] = []

    def seeds(index: int) -> SeedMaps:
        asked.append(index)
        return SeedMaps((), torch.zeros(0, 16, 16), (64, 64))

    def labels(image: np.ndarray, _: SeedMaps) -> np.ndarray:
        return np.full(image.shape[:2], image[0, 0, 0] % 3, dtype=np.uint8)

    paths = make_labels(place, labels, seeds)  # type: ignore[arg-type]
    assert sorted(asked) == list(range(len(place.data)))
    for index, path in enumerate(paths):
        assert (load_mask(path) == place.data[index].image[0, 0, 0] % 3).all()
    paths[1].unlink()
    asked.clear()
    assert make_labels(place, labels, seeds) == paths  # type: ignore[arg-type]
    assert asked == [1]
    assert paths[1].exists()


@dataclass(frozen=True)
class Cut:
    """Labels of one threshold, the mean of the maps where it is not given."""

    at: float | None = None

    @property
    def open(self) -> bool:
        return self.at is None

    def settled(self, statistics: MapStatistics) -> Cut:
        return Cut(best_of("mean", statistics))

    def __call__(self, image: np.ndarray, seeds: SeedMaps) -> np.ndarray:
        assert self.at is not None
        full = seeds.maps[0].repeat_interleave(4, 0).repeat_interleave(4, 1)
        return (full.numpy() > self.at).astype(np.uint8)


def test_thresholds_of_labels_are_chosen_from_all_seeds_before_the_first_label(
    folder_data: Path, tmp_path: Path
) -> None:
    place = Place(open_data(f"folder:{folder_data}").train, tmp_path / "auto")

    def seeds(index: int) -> SeedMaps:
        maps = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(index)) ** (1 + index)
        return SeedMaps((0,), maps, (64, 64))

    paths = make_labels(place, Cut(), seeds)  # type: ignore[arg-type]
    statistics = statistics_of(place, seeds)  # type: ignore[arg-type]
    chosen = settled(place, Cut(), seeds)  # type: ignore[arg-type]
    assert chosen == Cut(best_of("mean", statistics))
    assert statistics.images == len(place.data)
    for index, path in enumerate(paths):
        assert (load_mask(path) == Cut(best_of("mean", statistics))(np.zeros((64, 64, 3)), seeds(index))).all()

    paths[1].unlink()
    label = make_labels(place, Cut(), seeds)[1]  # type: ignore[arg-type]
    assert (load_mask(label) == Cut(best_of("mean", statistics))(np.zeros((64, 64, 3)), seeds(1))).all()


def test_labels_of_numbers_and_plain_functions_need_no_statistics(folder_data: Path, tmp_path: Path) -> None:
    place = Place(open_data(f"folder:{folder_data}").train, tmp_path)

    def never(index: int) -> SeedMaps:
        raise AssertionError("no seeds are looked at")

    def function(image: np.ndarray, seeds: SeedMaps) -> np.ndarray:
        return np.zeros(image.shape[:2], dtype=np.uint8)

    for labels in (Cut(0.3), function):
        assert settled(place, labels, never) is labels  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_masks_that_are_sure_of_nothing_are_left_out(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path, value in zip(paths, (255, 0, 2), strict=True):
        save_mask(path, np.full((4, 4), value, dtype=np.uint8))
    assert confident_indices(paths, "lower it") == (1, 2)
    with pytest.raises(InputError, match=r"found none in any; .* or lower it"):
        confident_indices(paths[:2], "lower it")
