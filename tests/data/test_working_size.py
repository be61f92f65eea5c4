from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.contracts import Dataset, HidesTruth, Sample
from deft.data import ImageDataset, open_data
from deft.data.layouts.file_dataset import FileDataset
from deft.data.working_size import WorkingSize, longest_side, scaled_sample, working_size


def photographs(root: Path, sizes: list[tuple[int, int]], suffix: str = ".png") -> FileDataset:
    """Images with a bright rectangle, which is the mask's class 1."""
    images, masks = [], []
    for index, (height, width) in enumerate(sizes):
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = 1
        pixels = np.repeat(np.where(mask == 1, 240, 30).astype(np.uint8)[..., None], 3, axis=2)
        images.append(root / f"{index}{suffix}")
        masks.append(root / f"{index}_mask.png")
        Image.fromarray(pixels).save(images[-1])
        Image.fromarray(mask).save(masks[-1])
    count = len(sizes)
    return FileDataset(
        classes=("thing",),
        names=tuple(str(index) for index in range(count)),
        images=tuple(images),
        labels=np.ones((count, 1), dtype=np.bool_),
        masks=tuple(masks),
        scored=np.ones(count, dtype=np.bool_),
    )


def test_a_dataset_whose_images_fit_is_not_wrapped(tmp_path: Path) -> None:
    data = photographs(tmp_path, [(60, 90), (100, 40)])
    assert longest_side(data) == 100
    assert working_size(data, 100) is data
    assert working_size(data, None) is data
    assert isinstance(working_size(data, 99), WorkingSize)
    demo = open_data("demo:train=2,val=0,size=96").train
    assert working_size(demo, 96) is demo


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_images_are_scaled_down_and_masks_are_not(tmp_path: Path, suffix: str) -> None:
    data = photographs(tmp_path, [(300, 200), (50, 64), (1, 300), (300, 2)], suffix)
    small = working_size(data, 64)
    assert isinstance(small, Dataset) and isinstance(small, HidesTruth)
    for index, shape in enumerate([(64, 43), (50, 64), (1, 64), (64, 1)]):
        whole, sample = data[index], small[index]
        assert sample.image.shape[:2] == shape
        assert sample.mask is not None and np.array_equal(sample.mask, whole.mask)
        assert sample.full_size == whole.image.shape[:2]
        assert (sample.photograph is None) == (index == 1)
    assert np.array_equal(small[1].image, data[1].image)
    bright = small[0].image.mean(axis=2) > 130
    rows, columns = np.nonzero(bright)
    assert abs(rows.min() - 16) <= 1 and abs(rows.max() - 32) <= 1
    assert abs(columns.min() - 10.7) <= 1 and abs(columns.max() - 21.4) <= 1


def test_all_else_is_that_of_the_dataset(tmp_path: Path) -> None:
    data = photographs(tmp_path, [(300, 200), (50, 64)])
    small = working_size(data, 64)
    assert len(small) == 2 and small.names == data.names and small.classes == data.classes
    assert small.labels is data.labels and small.scored is data.scored and small.groups == {}
    assert small.contexts == () and small.context_labels is None
    without = small.without_truth() if isinstance(small, HidesTruth) else small
    assert without[0].mask is None and np.array_equal(without[0].image, small[0].image)


def test_the_fingerprint_tells_the_size_only_where_it_matters(tmp_path: Path) -> None:
    data = photographs(tmp_path, [(300, 200), (50, 64)])
    prints = {most: working_size(data, most).fingerprint() for most in (None, 400, 300, 299, 64)}
    assert prints[None] == prints[400] == prints[300] == data.fingerprint()
    assert len({prints[None], prints[299], prints[64]}) == 3


def test_data_of_unknown_sizes_is_wrapped_and_small_images_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, size, dtype=np.uint8) for size in ((20, 30, 3), (200, 100, 3))]
    masks = [np.zeros(image.shape[:2], dtype=np.uint8) for image in images]
    data = ImageDataset(
        classes=["thing"],
        labels=np.ones((2, 1), dtype=np.bool_),
        image=lambda index: images[index],
        mask=lambda index: masks[index],
        version="1",
    )
    small = working_size(data, 50)
    assert isinstance(small, WorkingSize)
    assert np.array_equal(small[0].image, images[0]) and small[0].photograph is None
    assert small[1].image.shape == (50, 25, 3) and small[1].full_size == (200, 100)
    mask = small[1].mask
    assert mask is not None and mask.shape == (200, 100)


def test_a_sample_that_is_scaled_already_keeps_its_photograph() -> None:
    class Twice:
        def scaled(self, index: int, max_side: int | None) -> Sample:
            image = np.zeros((100, 50, 3), dtype=np.uint8)
            return Sample("a", image, np.ones(1, dtype=np.bool_), photograph=(1000, 500))

    sample = scaled_sample(Twice(), 0, 64)  # type: ignore[arg-type]
    assert sample.image.shape == (64, 32, 3) and sample.full_size == (1000, 500)
    assert replace(sample, photograph=None).full_size == (64, 32)


def test_headers_are_read_once_for_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photographs(tmp_path, [(30, 20), (40, 50)])
    asked: list[int] = []
    sizes = FileDataset.size_of

    def size_of(self: FileDataset, index: int) -> tuple[int, int]:
        asked.append(index)
        return sizes(self, index)

    monkeypatch.setattr(FileDataset, "size_of", size_of)
    assert working_size(data, 64) is data and working_size(data, 51) is data
    assert sorted(asked) == [0, 1]
