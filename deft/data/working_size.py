"""The size at which a run works: the one place where photographs are scaled down for all of its stages.

A run wraps its datasets in :func:`working_size`. Every method then sees images whose longer side is at most
``Pipeline.max_side``, while masks keep the size of the photograph (:attr:`deft.Sample.full_size`), and the stages
enlarge what the methods find to that size. A dataset whose images all fit is not wrapped, so that nothing about it
changes, its fingerprint and with it the keys of all stages included.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deft.contracts import Dataset, HidesTruth, Sample
from deft.data.scaling import shrunk

READERS = 16
"""Threads that read headers: storage in a network answers many at a time."""
_REMEMBERED = 16
_known: dict[int, tuple[weakref.ref[Any], int]] = {}
"""Longest side of the datasets measured last: a study begins many runs on one. They need not be hashable."""


@runtime_checkable
class KnowsSizes(Protocol):
    """A dataset that knows the size of its images without decoding them."""

    def size_of(self, index: int) -> tuple[int, int]:
        """(H, W) of a photograph, upright."""


@runtime_checkable
class ReadsScaled(Protocol):
    """A dataset that can decode its images at a smaller size, which takes less time and memory."""

    def scaled(self, index: int, max_side: int | None) -> Sample:
        """The sample with its image scaled down to at most ``max_side``; masks keep their size."""


def working_size(data: Dataset, max_side: int | None) -> Dataset:
    """The dataset with images of at most ``max_side`` pixels; the dataset itself if all of its images are.

    Where sizes are not known before images are decoded (:class:`KnowsSizes`), every image counts as larger.

    Args:
        data: any dataset.
        max_side: most pixels of the longer side; None reads photographs as they are.

    Raises:
        InputError: a header cannot be read.
    """
    if max_side is None or (isinstance(data, KnowsSizes) and longest_side(data) <= max_side):
        return data
    return WorkingSize(data, max_side)


def key_at(fingerprint: str, data: Dataset) -> str:
    """The fingerprint of a dataset at the size at which it is read; as it is where no image is scaled down."""
    if not isinstance(data, WorkingSize):
        return fingerprint
    return hashlib.sha256(f"{fingerprint},{data.max_side}".encode()).hexdigest()


def longest_side(data: KnowsSizes) -> int:
    """Longest side of all photographs, in pixels; 0 if there are none. Headers are read once per dataset."""
    known = _known.get(id(data))
    if known is not None and known[0]() is data:
        return known[1]
    count = len(data) if isinstance(data, Dataset) else 0
    with ThreadPoolExecutor(READERS) as pool:
        longest = max(map(max, pool.map(data.size_of, range(count))), default=0)
    if len(_known) >= _REMEMBERED:
        _known.clear()
    with suppress(TypeError):  # an object that cannot be referred to weakly is measured again
        _known[id(data)] = weakref.ref(data), longest
    return longest


def scaled_sample(data: Dataset, index: int, max_side: int | None) -> Sample:
    """A sample whose image is at most ``max_side``, decoded small if the dataset can."""
    sample = data.scaled(index, max_side) if isinstance(data, ReadsScaled) else data[index]
    image = shrunk(sample.image, max_side)
    return sample if image is sample.image else replace(sample, image=image, photograph=sample.full_size)


@dataclass(frozen=True, eq=False)
class WorkingSize:
    """A dataset with its images scaled down; everything else is that of the dataset."""

    data: Dataset
    max_side: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.data.classes

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of the J context classes."""
        return self.data.contexts

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each image."""
        return self.data.names

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Multi-hot, (N, K)."""
        return self.data.labels

    @property
    def context_labels(self) -> NDArray[np.bool_] | None:
        """Multi-hot, (N, J), or None."""
        return self.data.context_labels

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(N,), images with a mask that count in tables."""
        return self.data.scored

    @property
    def groups(self) -> Mapping[str, NDArray[np.bool_]]:
        """Named subsets, each (N,)."""
        return self.data.groups

    def fingerprint(self) -> str:
        """Digest of the dataset's and of the size."""
        return key_at(self.data.fingerprint(), self)

    def without_truth(self) -> WorkingSize:
        """The same images and tags, without masks if the dataset can skip them."""
        return replace(self, data=self.data.without_truth()) if isinstance(self.data, HidesTruth) else self

    def __len__(self) -> int:
        """N."""
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        """Read one image, scaled down if it is larger."""
        return scaled_sample(self.data, index, self.max_side)
