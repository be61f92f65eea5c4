from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deft.contracts import Dataset, HidesTruth, InputError, Sample
from deft.data import open_data
from deft.data.own import ImageDataset
from deft.stages.truth import usable_truth


def save(values: np.ndarray) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(values.astype(np.uint8)).save(path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "value": (save(np.full((16, 16), 9)), "got 9"),
    "size": (save(np.zeros((4, 16))), "16 x 4 pixels"),
    "colour": (save(np.zeros((16, 16, 3))), "colour image"),
    "torn": (lambda path: path.write_bytes(path.read_bytes()[:60]), "or damaged"),
    "no picture": (lambda path: path.write_bytes(b"mask"), "not an image"),
    "gone": (lambda path: path.unlink(), "No such file"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "got a folder"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_mask_is_named_and_its_image_stays(fault: str, own_folder: Path) -> None:
    data = open_data(f"folder:{own_folder}").train
    expected = [data[index] for index in range(len(data))]
    spoil, words = BAD[fault]
    spoil(own_folder / "masks" / "img_01.png")
    left_out: dict[str, str] = {}
    usable = usable_truth(data, left_out)
    assert isinstance(usable, Dataset) and not isinstance(usable, HidesTruth)
    assert (usable.names, usable.classes, usable.fingerprint()) == (data.names, data.classes, data.fingerprint())
    for index, sample in enumerate(expected):
        found = usable[index]
        assert np.array_equal(found.image, sample.image) and found.name == sample.name
        assert found.mask is None if index == 1 else np.array_equal(found.mask, sample.mask)
    assert left_out.keys() == {"img_01"} and words in left_out["img_01"]


def test_an_image_that_cannot_be_read_is_no_fault_of_its_mask(own_folder: Path) -> None:
    data = open_data(f"folder:{own_folder}").train
    (own_folder / "images" / "img_01.png").write_bytes(b"")
    with pytest.raises(InputError, match="img_01"):
        usable_truth(data)[1]


def own(mask: Any) -> ImageDataset:
    image = np.zeros((8, 6, 3), np.uint8)
    return ImageDataset(("cat",), np.ones((2, 1), bool), lambda index: image, version="1", mask=mask)


@pytest.mark.parametrize("error", [OSError("disk"), KeyError("a"), ValueError(), ZeroDivisionError("1 / 0")])
def test_errors_of_the_users_code_are_of_the_mask_if_the_image_can_be_read(error: Exception) -> None:
    def mask(index: int) -> np.ndarray:
        if index:
            raise error
        return np.zeros((8, 6), np.uint8)

    left_out: dict[str, str] = {}
    usable = usable_truth(own(mask), left_out)
    assert usable[0].mask is not None and usable[1].mask is None and usable[1].image.shape == (8, 6, 3)
    assert left_out == {"image_000001": str(error) or "ValueError"}


@pytest.mark.parametrize(
    "mask", [np.zeros((8, 5), np.uint8), np.zeros((8, 6), np.int64), np.full((8, 6), 2, np.uint8), "mask"]
)
def test_samples_of_any_data_set_are_looked_at(mask: Any) -> None:
    bare = own(None)

    class Plain:
        classes, contexts, names, labels = bare.classes, bare.contexts, bare.names, bare.labels
        context_labels, scored, groups, fingerprint = None, np.ones(2, bool), bare.groups, bare.fingerprint

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Sample:
            if index:
                raise RuntimeError("gone")
            return Sample(self.names[0], bare[0].image, self.labels[0], mask)

    left_out: dict[str, str] = {}
    usable = usable_truth(Plain(), left_out)
    assert usable[0].mask is None and usable[0].image.shape == (8, 6, 3)
    assert usable[1].mask is None and usable[1].image.size == 0  # whether it is the mask cannot be told
    assert left_out["image_000001"] == "gone" and left_out["image_000000"].startswith(("expected", "the mask"))


def test_a_bad_mask_of_contexts_is_left_out_too(own_voc: Path) -> None:
    data = open_data(f"voc:{own_voc}").train
    shutil.copy(own_voc / "JPEGImages" / "img_00.jpg", own_voc / "SegmentationContext" / "img_00.png")
    left_out: dict[str, str] = {}
    assert usable_truth(data, left_out)[0].mask is None and list(left_out) == ["img_00"]
