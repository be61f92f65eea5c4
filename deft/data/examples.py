"""Training examples: a data set read through a random crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deft.artifacts import load_mask
from deft.contracts import Dataset
from deft.data.transforms import TrainCrop


@dataclass(frozen=True)
class TaggedImages:
    """Images with their tags, for the classifier."""

    data: Dataset
    transform: TrainCrop
    fill: tuple[int, int, int]
    """Colour of the padding: the backbone's mean, because this family pads with 0 after normalising."""

    def __len__(self) -> int:
        return len(self.data)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """``image`` uint8 (3, crop, crop) and ``labels`` float (K,)."""
        sample = self.data[index]
        image, _ = self.transform(sample.image, None, self.fill, rng)
        return {"image": image, "labels": torch.from_numpy(sample.labels.astype(np.float32))}


@dataclass(frozen=True)
class MaskedImages:
    """Images with masks of a run folder (confident labels or pseudo-masks), for IRN and the segmentation network."""

    data: Dataset
    masks: Sequence[Path]
    """One PNG an image."""
    transform: TrainCrop
    fill: tuple[int, int, int]
    indices: tuple[int, ...] = ()
    """The images to learn from; empty takes all."""

    def __len__(self) -> int:
        return len(self.indices) or len(self.data)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """``image`` uint8 (3, crop, crop) and ``mask`` int64 (crop, crop), 255 ignored."""
        index = self.indices[index] if self.indices else index
        image, mask = self.transform(self.data[index].image, load_mask(self.masks[index]), self.fill, rng)
        if mask is None:
            raise AssertionError("a mask went into the crop and none came out")
        return {"image": image, "mask": mask}


def typical_side(data: Dataset, looked_at: int = 50) -> int:
    """Median long side, in pixels, of some images spread over the data set."""
    step = max(1, len(data) // looked_at)
    return int(np.median([max(data[index].image.shape[:2]) for index in range(0, len(data), step)]))
