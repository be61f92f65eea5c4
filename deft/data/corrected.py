"""A dataset as its review left it: without the images that were rejected, and with the tags that were corrected."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deft.contracts import Dataset, DigestFiles, HidesTruth, OfFiles, Sample
from deft.data.working_size import KnowsSizes, ReadsScaled


def corrected_data(data: Dataset, rejected: Sequence[str], tags: Mapping[str, Sequence[str]]) -> Dataset:
    """The dataset without some images and with other tags of some; the dataset itself if nothing of it changes.

    Args:
        data: any dataset.
        rejected: names of images that are left out; others than the dataset's are passed over.
        tags: names of the classes of images, by name; others than the dataset's are passed over.
    """
    gone = set(rejected)
    kept = [index for index, name in enumerate(data.names) if name not in gone]
    places = {name: k for k, name in enumerate(data.classes)}
    labels = np.asarray(data.labels)[kept]
    for row, index in enumerate(kept):
        if (classes := tags.get(data.names[index])) is not None:
            labels[row] = False
            labels[row, [places[name] for name in classes if name in places]] = True
    if len(kept) == len(data) and (labels == data.labels).all():
        return data
    return CorrectedData(data, tuple(kept), labels)


@dataclass(frozen=True, eq=False)
class CorrectedData:
    """Some images of a dataset, with tags of their own; everything else is that of the dataset."""

    data: Dataset
    kept: tuple[int, ...]
    """Indices of the M images in the dataset."""
    labels: NDArray[np.bool_]
    """Multi-hot, (M, K)."""

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
        return tuple(self.data.names[index] for index in self.kept)

    @property
    def context_labels(self) -> NDArray[np.bool_] | None:
        """Multi-hot, (M, J), or None."""
        labels = self.data.context_labels
        return None if labels is None else labels[list(self.kept)]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(M,), images with a mask that count in tables."""
        return self.data.scored[list(self.kept)]

    @property
    def groups(self) -> Mapping[str, NDArray[np.bool_]]:
        """Named subsets, each (M,)."""
        return {name: members[list(self.kept)] for name, members in self.data.groups.items()}

    def fingerprint(self) -> str:
        """Digest of the dataset's, of the images that are kept, and of their tags."""
        digest = hashlib.sha256(f"{self.data.fingerprint()},{self.kept}".encode())
        digest.update(np.packbits(self.labels).tobytes())
        return digest.hexdigest()

    def image_digests(self, digests: DigestFiles) -> list[str]:
        """Digest of each image, or a single one for all of them, as of the dataset."""
        found = self.data.image_digests(digests) if isinstance(self.data, OfFiles) else [self.data.fingerprint()]
        return [found[index] for index in self.kept] if len(found) == len(self.data) else found

    def truth_digest(self, digests: DigestFiles) -> str:
        """Text that changes when a mask of the dataset does."""
        return self.data.truth_digest(digests) if isinstance(self.data, OfFiles) else self.data.fingerprint()

    def without_truth(self) -> CorrectedData:
        """The same images and tags, without masks if the dataset can skip them."""
        return replace(self, data=self.data.without_truth()) if isinstance(self.data, HidesTruth) else self

    def size_of(self, index: int) -> tuple[int, int]:
        """(H, W) of a photograph; it is decoded where the dataset does not know sizes."""
        index = self.kept[index]
        return self.data.size_of(index) if isinstance(self.data, KnowsSizes) else self.data[index].full_size

    def scaled(self, index: int, max_side: int | None) -> Sample:
        """The sample, decoded at a smaller size if the dataset can."""
        place = self.kept[index]
        sample = self.data.scaled(place, max_side) if isinstance(self.data, ReadsScaled) else self.data[place]
        return replace(sample, labels=self.labels[index].copy())

    def __len__(self) -> int:
        """M."""
        return len(self.kept)

    def __getitem__(self, index: int) -> Sample:
        """Read one image."""
        return replace(self.data[self.kept[index]], labels=self.labels[index].copy())
