from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import load_mask, save_mask
from deft.contracts import Dataset, InputError, SeedMaps
from deft.data import open_data
from deft.engine.workshop import make_labels, sure_of_something


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


def test_masks_that_are_sure_of_nothing_are_left_out(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path, value in zip(paths, (255, 0, 2), strict=True):
        save_mask(path, np.full((4, 4), value, dtype=np.uint8))
    assert sure_of_something(paths, "lower it") == (1, 2)
    with pytest.raises(InputError, match=r"found none in any; .* or lower it"):
        sure_of_something(paths[:2], "lower it")
