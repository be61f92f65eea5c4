from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from deft.artifacts import save_mask
from deft.contracts import Sample
from deft.data import open_data
from deft.data.examples import MaskedImages, TaggedImages, typical_side, without_truth
from deft.data.layouts.file_dataset import FileDataset
from deft.data.transforms import TrainCrop
from deft.data.working_size import working_size

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


def test_a_mask_as_large_as_the_photograph_is_cut_like_the_scaled_image(folder_data: Path, tmp_path: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    small = working_size(data, 32)
    paths = [tmp_path / f"{index}.png" for index in range(len(data))]
    for path in paths:
        save_mask(path, np.repeat(np.arange(64, dtype=np.uint8)[:, None], 64, axis=1))  # the row of each pixel
    found = MaskedImages(small, paths, TrainCrop(32, flip=False), FILL).example(0, np.random.default_rng(0))
    assert found["image"].shape == (3, 32, 32)
    assert torch.equal(found["mask"], torch.arange(1, 64, 2)[:, None].expand(32, 32))
    assert np.array_equal(found["image"].permute(1, 2, 0).numpy(), small[0].image)
    save_mask(paths[0], np.zeros((50, 64), dtype=np.uint8))
    with pytest.raises(ValueError, match="differ in size"):
        MaskedImages(small, paths, TrainCrop(32), FILL).example(0, np.random.default_rng(0))
