from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import file_stem, load_seeds, save_mask, save_seeds
from deft.contracts import Dataset, SeedMaps
from deft.data import open_data
from deft.evaluate.scores import score_masks, sweep
from deft.seedmaps import to_mask, upsample
from deft.thresholds import AUTO, Choice, Cuts, Threshold
from references import slow_miou


@pytest.fixture
def stored(folder_data: Path, tmp_path: Path) -> tuple[Dataset, list[Path]]:
    """Random seeds of the training images."""
    data = open_data(f"folder:{folder_data}").train
    paths = [tmp_path / f"{file_stem(name)}.npz" for name in data.names]
    for index, path in enumerate(paths):
        classes = tuple(int(k) for k in np.flatnonzero(data.labels[index]))
        height, width = data[index].image.shape[:2]
        grid = ((height - 1) // 4 + 1, (width - 1) // 4 + 1)
        maps = torch.rand(len(classes), *grid, generator=torch.Generator().manual_seed(index))
        save_seeds(path, SeedMaps(classes, maps, (height, width)))
    return data, paths


def cuts(setting: Threshold = 0.5, auto: float | None = 0.3, tuned: float | None = None) -> Cuts:
    return Cuts("seed_threshold", setting, None if auto is None else Choice(auto, auto, auto, 8), tuned)


def test_every_score_is_that_of_masks_made_at_its_threshold(stored: tuple[Dataset, list[Path]]) -> None:
    data, paths = stored
    scores = sweep(data, paths, cuts(tuned=0.6), chosen=0.8)
    assert scores["swept"]["miou"] == pytest.approx(max(scores["curve"]), abs=1e-4)
    known = {"fixed": 0.5, "auto": 0.3, "tuned": 0.6, "chosen on train": 0.8, "used": 0.6}
    found = [load_seeds(path) for path in paths]
    for kind, value in {**known, "swept": scores["swept"]["threshold"]}.items():
        masks = [to_mask(upsample(seeds), seeds.classes, value) for seeds in found]
        assert scores[kind]["threshold"] == value
        assert scores[kind]["miou"] == pytest.approx(slow_miou(masks, [data[index].mask for index in range(len(data))]))


@pytest.mark.parametrize(
    ("given", "kinds", "chosen"),
    [
        (cuts(0.5), {"fixed", "auto"}, "fixed"),
        (cuts(0.5, auto=None), {"fixed"}, "fixed"),
        (cuts(AUTO), {"auto"}, "auto"),
        (cuts(AUTO, tuned=0.6), {"auto", "tuned"}, "tuned"),
        (cuts(0.5, tuned=0.6), {"fixed", "auto", "tuned"}, "tuned"),
    ],
)
def test_the_threshold_in_use_says_how_it_was_chosen_and_only_known_ones_are_scored(
    stored: tuple[Dataset, list[Path]], given: Cuts, kinds: set[str], chosen: str
) -> None:
    data, paths = stored
    scores = sweep(data, paths, given)
    assert scores.keys() == {"curve", "thresholds", "swept", "used", *kinds}
    assert scores["used"] == {"chosen": chosen, **scores[chosen]}


def test_groups_count_their_members_only(stored: tuple[Dataset, list[Path]], tmp_path: Path) -> None:
    data, paths = stored
    members = np.zeros(len(data), dtype=bool)
    members[:3] = True
    whole, part = (sweep(data, paths, cuts(), members=who) for who in (None, members))
    assert whole["used"]["miou"] != part["used"]["miou"]
    masks = [tmp_path / f"{index}.png" for index in range(len(data))]
    for index, path in enumerate(masks):
        save_mask(path, np.where(data[index].mask == 255, 0, data[index].mask).astype(np.uint8))
    perfect = score_masks(data, masks, members)
    assert perfect["miou"] == 1
    assert sorted(perfect["images"]) == sorted(data.names[:3])
