from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from deft.artifacts import save_mask
from deft.data import open_data
from deft.data.examples import MaskedImages, TaggedImages, typical_side
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


def test_image_and_mask_are_cut_alike(folder_data: Path, tmp_path: Path) -> None:
    data = open_data(f"folder:{folder_data}").train
    paths = [tmp_path / f"{index}.png" for index in range(len(data))]
    for index, path in enumerate(paths):
        save_mask(path, data[index].image[..., 0])  # a mask that is a copy of the red channel
    examples = MaskedImages(data, paths, TrainCrop(48), FILL, indices=(4, 6))
    assert len(examples) == 2
    example = examples.example(1, np.random.default_rng(0))
    assert torch.equal(example["image"][0].long(), example["mask"])


def test_typical_side(folder_data: Path) -> None:
    assert typical_side(open_data(f"folder:{folder_data}").train) == 64
