from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from deft.artifacts import save_mask
from deft.contracts import Sample
from deft.data import open_data
from deft.data.examples import MaskedImages, TaggedImages, typical_side, without_truth
from deft.data.layouts.file_dataset import FileDataset
from deft.data.transforms import TrainCrop

FILL = (1, 2, 3)


def test_tagged_examples_are_functions_of_index_and_generator(folder_data: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    examples = TaggedImages(data, TrainCrop(32, long_side=(40, 80)), FILL)
    one, two = (examples.example(3, np.random.default_rng(5)) for _ in range(2))
    assert len(examples) == len(data)
    assert torch.equal(one["image"], two["image"])
    assert one["image"].dtype == torch.uint8
    assert one["labels"].tolist() == data.labels[3].tolist()
    assert not torch.equal(one["image"], examples.example(3, np.random.default_rng(6))["image"])


class Redder:
    """Turns the red channel up and adds the second tag."""

    counts: ClassVar[dict[str, int]] = {}

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = np.maximum(sample.image, np.array([255, 0, 0], dtype=np.uint8))
        return replace(sample, image=image, labels=sample.labels | np.array([False, True, False]))


def test_a_changed_image_comes_beside_itself(folder_data: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    crop = TrainCrop(64, long_side=(60, 80))
    plain = TaggedImages(data, crop, FILL).example(0, np.random.default_rng(5))
    pair = TaggedImages(data, crop, FILL, Redder()).example(0, np.random.default_rng(5))
    assert pair["image"].shape == (2, *plain["image"].shape)
    assert pair["labels"].tolist() == [[1, 0, 0], [1, 1, 0]]
    assert torch.equal(pair["image"][0], plain["image"])
    assert (pair["image"][1][0] >= 250).float().mean() > 0.4  # the rest is padding
    assert not torch.equal(pair["image"][0][1], pair["image"][1][1])  # a crop of its own


def test_image_and_mask_are_cut_alike(folder_data: Path, tmp_path: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    paths = [tmp_path / f"{index}.png" for index in range(len(data))]
    for index, path in enumerate(paths):
        save_mask(path, data[index].image[..., 0])  # a mask that is a copy of the red channel
    examples = MaskedImages(data, paths, TrainCrop(48), FILL, indices=(4, 6))
    assert len(examples) == 2
    example = examples.example(1, np.random.default_rng(0))
    assert torch.equal(example["image"][0].long(), example["mask"])
    assert example["labels"].dtype == torch.float32
    assert example["labels"].tolist() == data.labels[6].tolist()


def test_the_truth_is_not_read_for_training(folder_data: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    assert isinstance(data, FileDataset) and data[0].mask is not None
    bare = without_truth(data)
    assert bare[0].mask is None and bare[0].context is None
    np.testing.assert_array_equal(bare[0].image, data[0].image)
    assert bare.names == data.names and bare.labels.tolist() == data.labels.tolist()
    lost = replace(data, masks=(Path("nowhere.png"),) * len(data))
    one, two = (
        TaggedImages(each, TrainCrop(32), FILL).example(0, np.random.default_rng(5))["image"] for each in (data, lost)
    )
    assert torch.equal(one, two)


def test_typical_side(folder_data: Path) -> None:
    assert typical_side(open_data(f"folder:{folder_data}").train) == 64
