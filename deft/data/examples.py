"""Training examples: randomly cropped images of a dataset.

Training uses tags only, so examples never decode ground-truth masks, which would take longer than decoding the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deft.artifacts import load_mask
from deft.contracts import Dataset, HidesTruth, Sample, SampleChange
from deft.data.scaling import resized_mask
from deft.data.transforms import TrainCrop


@dataclass(frozen=True)
class TaggedImages:
    """Images with their tags, for the classifier."""

    data: Dataset
    transform: TrainCrop
    fill: tuple[int, int, int]
    """Colour of the padding: the backbone's mean, because the methods of this family pad with 0 after normalising."""
    change: SampleChange | None = None
    """If given, an example is two views: the original image, and the augmented one."""

    def __len__(self) -> int:
        return len(self.data)

    @cached_property
    def _images(self) -> Dataset:
        return without_truth(self.data)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """``image`` uint8 (3, crop, crop) and ``labels`` float (K,); with ``change`` (2, 3, crop, crop) and (2, K)."""
        sample = self._images[index]
        one = self._view(sample, rng)
        if self.change is None:
            return one
        two = self._view(self.change(sample, rng), rng)
        return {key: torch.stack([one[key], two[key]]) for key in one}

    def name(self, index: int) -> str:
        """Name of the image."""
        return self.data.names[index]

    def _view(self, sample: Sample, rng: np.random.Generator) -> dict[str, Tensor]:
        image, _ = self.transform(sample.image, None, self.fill, rng)
        return {"image": image, "labels": torch.from_numpy(sample.labels.astype(np.float32))}


@dataclass(frozen=True)
class MaskedImages:
    """Images with masks from a run folder: confident labels (IRN, AMN), or pseudo-masks (the segmentation network)."""

    data: Dataset
    masks: Sequence[Path]
    """One PNG per image."""
    transform: TrainCrop
    fill: tuple[int, int, int]
    indices: tuple[int, ...] = ()
    """The images to train on; empty takes all."""

    def __len__(self) -> int:
        return len(self.indices) or len(self.data)

    @cached_property
    def _images(self) -> Dataset:
        return without_truth(self.data)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """``image`` uint8 (3, crop, crop), ``mask`` int64 (crop, crop) with 255 ignored, ``labels`` float (K,)."""
        index = self.indices[index] if self.indices else index
        sample = self._images[index]
        stored = load_mask(self.masks[index])
        if stored.shape == sample.full_size:  # confident labels have the size of the image already
            stored = resized_mask(stored, (sample.image.shape[0], sample.image.shape[1]))
        image, mask = self.transform(sample.image, stored, self.fill, rng)
        if mask is None:
            raise AssertionError("a mask went into the crop and none came out")
        return {"image": image, "mask": mask, "labels": torch.from_numpy(sample.labels.astype(np.float32))}

    def name(self, index: int) -> str:
        """Name of the image."""
        return self.data.names[self.indices[index] if self.indices else index]


def without_truth(data: Dataset) -> Dataset:
    """The same images and tags, without masks if the dataset can skip them."""
    return data.without_truth() if isinstance(data, HidesTruth) else data


def typical_side(data: Dataset, looked_at: int = 50) -> int:
    """Median long side, in pixels, of about ``looked_at`` images evenly spread over the dataset."""
    step = max(1, len(data) // looked_at)
    data = without_truth(data)
    return int(np.median([max(data[index].image.shape[:2]) for index in range(0, len(data), step)]))
