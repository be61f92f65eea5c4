from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import load_mask, save_mask
from deft.contracts import InputError, SeedMaps
from deft.data import open_data
from deft.data.transforms import TrainCrop
from deft.engine.method import (
    MethodContext,
    confident_indices,
    learning,
    make_labels,
    remedy_of,
    settled,
    statistics_of,
)
from deft.refine.irn import Irn
from deft.refine.labels import ConfidentLabels
from deft.seedmaps import grid
from deft.seeds.cam import Cam
from deft.seeds.clip_text import ClipText
from deft.seeds.external import External
from deft.thresholds import MapStatistics, best_of
from fakes import Scenes, classifier, method_context, no_seeds


def context(folder_data: Path, folder: Path) -> MethodContext:
    return method_context(open_data(f"folder:{folder_data}").train, folder)


def test_labels_are_made_once_for_every_image(folder_data: Path, tmp_path: Path) -> None:
    place = context(folder_data, tmp_path)
    asked: list[int] = []

    def seeds(index: int) -> SeedMaps:
        asked.append(index)
        return SeedMaps((), torch.zeros(0, 16, 16), (64, 64))

    def labels(image: np.ndarray, _: SeedMaps) -> np.ndarray:
        return np.full(image.shape[:2], image[0, 0, 0] % 3, dtype=np.uint8)

    paths = make_labels(place, labels, seeds)
    assert sorted(asked) == list(range(len(place.data)))
    for index, path in enumerate(paths):
        assert (load_mask(path) == place.data[index].image[0, 0, 0] % 3).all()
    paths[1].unlink()
    asked.clear()
    assert make_labels(place, labels, seeds) == paths
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
    place = context(folder_data, tmp_path / "auto")

    def seeds(index: int) -> SeedMaps:
        maps = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(index)) ** (1 + index)
        return SeedMaps((0,), maps, (64, 64))

    paths = make_labels(place, Cut(), seeds)
    statistics = statistics_of(place, seeds)
    chosen = settled(place, Cut(), seeds)
    assert chosen == Cut(best_of("mean", statistics))
    assert statistics.images == len(place.data)
    for index, path in enumerate(paths):
        assert (load_mask(path) == Cut(best_of("mean", statistics))(np.zeros((64, 64, 3)), seeds(index))).all()

    paths[1].unlink()
    label = make_labels(place, Cut(), seeds)[1]
    assert (load_mask(label) == Cut(best_of("mean", statistics))(np.zeros((64, 64, 3)), seeds(1))).all()


def test_labels_of_numbers_and_plain_functions_need_no_statistics(folder_data: Path, tmp_path: Path) -> None:
    place = context(folder_data, tmp_path)

    def function(image: np.ndarray, seeds: SeedMaps) -> np.ndarray:
        return np.zeros(image.shape[:2], dtype=np.uint8)

    for labels in (Cut(0.3), function):
        assert settled(place, labels, no_seeds) is labels
    assert not list(tmp_path.iterdir())


def test_masks_that_are_sure_of_nothing_are_left_out(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path, value in zip(paths, (255, 0, 2), strict=True):
        save_mask(path, np.full((4, 4), value, dtype=np.uint8))
    assert confident_indices(paths, "lower it", "train") == (1, 2)
    with pytest.raises(InputError, match=r"found none in any; look at the seeds, train, or lower it$"):
        confident_indices(paths[:2], "lower it", "train")


def test_what_makes_better_seeds_is_said_by_who_makes_them(tmp_path: Path) -> None:
    assert remedy_of(Cam()) == "train the classifier for longer"
    assert "classifier" not in remedy_of(External()) and "seeds.folder" in remedy_of(External())
    assert "seeds.presence" not in remedy_of(ClipText()) and "seeds.prompts" in remedy_of(ClipText())
    assert remedy_of(ClipText(zero_shot=True)).startswith("lower seeds.presence, ")
    for count, said in (
        (0, r"got no image with a class; look closer$"),
        (1, r"got maps that have one value everywhere; look closer, or set numbers instead of auto$"),
    ):

        def seeds(index: int, count: int = count) -> SeedMaps:
            size = Scenes()[index].image.shape[:2]
            return SeedMaps((0,)[:count], torch.zeros(count, *grid(size)), size)

        context = replace(method_context(Scenes(), tmp_path / str(count)), remedy="look closer")
        with pytest.raises(InputError, match=rf"choose the thresholds of the confident labels from, {said}"):
            settled(context, ConfidentLabels(), seeds)


@pytest.mark.parametrize(
    ("side", "crop", "centred", "expected"),
    [(500, 0.9, False, 448), (500, 1.0, True, 513), (64, 1.0, False, 64), (10, 1.0, False, 32), (10, 1.0, True, 33)],
)
def test_crops_are_whole_cells_of_the_images_side(
    side: int, crop: float, centred: bool, expected: int, folder_data: Path, tmp_path: Path
) -> None:
    place = replace(context(folder_data, tmp_path), side=side)
    paths = [tmp_path / f"{index}.png" for index in range(len(place.data))]
    found = place.crops(paths, (1, 5), crop=crop, scale=(0.5, 1.5), flip=False, jitter=0.2, centred=centred)
    assert found.transform == TrainCrop(expected, scale=(0.5, 1.5), flip=False, jitter=0.2)
    assert (found.fill, found.indices, list(found.masks)) == (place.backbone.fill, (1, 5), paths)
    for path in paths:
        save_mask(path, np.ones((64, 64), dtype=np.uint8))
    example = found.example(1, np.random.default_rng(0))
    assert example["image"].shape == (3, expected, expected) and example["mask"].shape == (expected, expected)
    assert example["labels"].tolist() == place.data.labels[5].astype(float).tolist()


def test_a_recipe_without_a_classifier_has_none_to_give(folder_data: Path, tmp_path: Path) -> None:
    place, network = context(folder_data, tmp_path), classifier()
    assert method_context(place.data, tmp_path, network=network).classifier is network
    with pytest.raises(InputError, match="the recipe has none; give it one, or seeds of another kind"):
        _ = place.classifier


def test_what_says_nothing_of_learning_trains_nothing() -> None:
    assert learning(object()) is None
    assert learning(Cam()) is None
    assert learning(Irn()) == Irn().learning
