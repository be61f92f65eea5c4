from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import Dataset, InputError
from deft.data import open_data
from deft.data.layouts.file_dataset import FileDataset, mask_fault


def opened(root: Path) -> FileDataset:
    train = open_data(f"voc:{root}").train
    assert isinstance(train, FileDataset)
    return train


def test_it_is_a_data_set_that_travels_to_other_processes(voc_data: Path) -> None:
    train = opened(voc_data)
    assert isinstance(train, Dataset)
    copy = pickle.loads(pickle.dumps(train))
    assert copy.fingerprint() == train.fingerprint() and copy.names == train.names
    np.testing.assert_array_equal(copy[3].image, train[3].image)
    assert len([sample.name for sample in train]) == len(train) == 8


def test_a_sample_cannot_change_the_labels_of_the_set(voc_data: Path) -> None:
    train = opened(voc_data)
    train[0].labels[:] = True
    assert train.labels[0].tolist() == [True, False, False]


def test_the_fingerprint_changes_with_everything_that_counts(own_voc: Path) -> None:
    train = opened(own_voc)
    assert opened(own_voc).fingerprint() == train.fingerprint()
    seen = {train.fingerprint()}
    flipped = train.labels.copy()
    flipped[0, 1] = True
    for changed in (
        replace(train, labels=flipped),
        replace(train, classes=("cat", "cow", "wolf")),
        replace(train, names=(*train.names[:-1], "other")),
        replace(train, scored=~train.scored),
        replace(train, masks=(None, *train.masks[1:])),
        replace(train, context_labels=None),
        replace(train, groups={"odd": train.scored}),
        replace(train, names=train.names[::-1], images=train.images[::-1]),
    ):
        seen.add(changed.fingerprint())
    os.utime(train.images[0], ns=(1, 1))
    seen.add(train.fingerprint())
    train.images[1].unlink()
    seen.add(train.fingerprint())
    assert len(seen) == 11


def test_the_fingerprint_does_not_change_with_the_place(own_voc: Path) -> None:
    before = opened(own_voc).fingerprint()
    moved = own_voc.rename(own_voc.with_name("elsewhere"))
    assert opened(moved).fingerprint() == before


def test_a_mask_that_does_not_fit_is_refused_when_read(own_voc: Path) -> None:
    train = opened(own_voc)
    Image.fromarray(np.zeros((16, 8), np.uint8)).save(own_voc / "SegmentationClass" / "img_00.png")
    Image.fromarray(np.full((16, 16), 4, np.uint8)).save(own_voc / "SegmentationClass" / "img_01.png")
    Image.fromarray(np.full((16, 16), 3, np.uint8)).save(own_voc / "SegmentationContext" / "img_02.png")
    for index, word in enumerate(("8 x 16 pixels, its image 16 x 16", "0 to 3 and 255, got 4", "0 to 2 and 255")):
        with pytest.raises(InputError, match=f"img_0{index}.png: .*{word}"):
            train[index]


def test_mask_values_are_compared_with_the_classes() -> None:
    values = np.array([[0, 1, 254], [255, 2, 3]], dtype=np.uint8)
    assert mask_fault(values, 254) == ""
    assert mask_fault(values, 3) == "expected values 0 to 3 and 255, got 254"
    assert mask_fault(values, 1) == "expected values 0 to 1 and 255, got 2, 3, 254"


def test_parts_of_different_length_are_refused(voc_data: Path) -> None:
    train = opened(voc_data)
    with pytest.raises(ValueError, match="masks"):
        replace(train, masks=train.masks[1:])
    with pytest.raises(ValueError, match="labels"):
        replace(train, classes=("cat",))
