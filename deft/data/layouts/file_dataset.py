"""A dataset of image and mask files, into which the layouts ``folder:`` and ``voc:`` are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts.contents import joined
from deft.contracts import IGNORE, DigestFiles, InputError, Sample
from deft.data.fingerprints import taught
from deft.data.images import image_size, read_mask, read_scaled
from deft.data.places import places_of

_COUNTED = 2**20
"""Pixels whose values are counted at a time."""


@dataclass(frozen=True, eq=False)
class FileDataset:
    """A :class:`deft.contracts.Dataset` of one split; labels are in memory, images are decoded on demand."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    images: tuple[Path, ...]
    """File of each image, (N,)."""
    labels: NDArray[np.bool_]
    """Multi-hot, (N, K)."""
    masks: tuple[Path | None, ...]
    """File of each mask, (N,)."""
    scored: NDArray[np.bool_]
    """(N,): has a mask and counts in tables."""
    contexts: tuple[str, ...] = ()
    context_labels: NDArray[np.bool_] | None = None
    context_masks: tuple[Path | None, ...] = ()
    """File of each context mask, (N,) or empty."""
    groups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that all parts have the same length."""
        count = len(self.names)
        shapes = {
            "images": len(self.images),
            "labels": len(self.labels),
            "masks": len(self.masks),
            "scored": len(self.scored),
            "context_masks": len(self.context_masks) or count,
            "context_labels": count if self.context_labels is None else len(self.context_labels),
        }
        wrong = {name: length for name, length in shapes.items() if length != count}
        if wrong or self.labels.shape[1:] != (len(self.classes),):
            raise ValueError(
                f"expected {count} images and labels ({count}, {len(self.classes)}), "
                f"got lengths {wrong} and labels {self.labels.shape}; give one entry for each name"
            )

    def __len__(self) -> int:
        """N."""
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Decode one image with its masks; raises InputError naming the file if that fails."""
        return self.scaled(index, None)

    def scaled(self, index: int, max_side: int | None) -> Sample:
        """Decode one image, scaled down to at most ``max_side``, with its masks at full size."""
        image, size = read_scaled(self.images[index], max_side)
        context = self.context_masks[index] if self.context_masks else None
        return Sample(
            name=self.names[index],
            image=image,
            labels=self.labels[index].copy(),
            mask=_mask(self.masks[index], size, len(self.classes)),
            context=_mask(context, size, len(self.contexts)),
            photograph=None if image.shape[:2] == size else size,
        )

    def size_of(self, index: int) -> tuple[int, int]:
        """(H, W) of a photograph, from its header."""
        return image_size(self.images[index])

    @property
    def places(self) -> set[Path]:
        """Folders of the images and masks, and those files that are links."""
        return places_of((*self.images, *self.masks, *self.context_masks))

    def without_truth(self) -> FileDataset:
        """The same images and tags, without masks."""
        return replace(self, masks=(None,) * len(self), context_masks=())

    def fingerprint(self) -> str:
        """Digest of classes, names, labels and the bytes of each image; reads every file."""
        return taught(self).fingerprint

    def image_digests(self, digests: DigestFiles) -> list[str]:
        """Digest of each image's file, (N,)."""
        return digests(self.images)

    def truth_digest(self, digests: DigestFiles) -> str:
        """Digest of the files of all masks, and of which image each belongs to."""
        parts = []
        for files in (self.masks, self.context_masks):
            found = iter(digests([path for path in files if path is not None], strict=False))
            parts += ["-" if path is None else next(found) for path in files]
        return joined(parts)


def values_in(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the values 0 to 255 a mask holds, (256,); counted in parts, because counting takes 8 bytes a pixel."""
    flat = mask.ravel()
    present = np.zeros(256, dtype=np.bool_)
    for start in range(0, len(flat), _COUNTED):
        present |= np.bincount(flat[start : start + _COUNTED], minlength=256) > 0
    return present


def mask_fault(mask: NDArray[np.uint8], num_classes: int) -> str:
    """Fault of the values of a mask, or an empty string."""
    present = values_in(mask)
    wrong = [value for value in range(num_classes + 1, IGNORE) if present[value]]
    if not wrong:
        return ""
    shown = ", ".join(str(value) for value in wrong[:5]) + (", ..." if len(wrong) > 5 else "")
    return f"expected values 0 to {num_classes} and 255, got {shown}"


def _mask(path: Path | None, size: tuple[int, int], num_classes: int) -> NDArray[np.uint8] | None:
    if path is None:
        return None
    mask = read_mask(path)
    if mask.shape != size:
        raise InputError(f"{path}: {size_fault(mask.shape, size)}; {SIZE_REMEDY}")
    if wrong := mask_fault(mask, num_classes):
        raise InputError(f"{path}: {wrong}; {VALUE_REMEDY}")
    return mask


SIZE_REMEDY = "draw the mask on the upright image (EXIF rotation applied) at full size"
VALUE_REMEDY = "use k for the k-th class, and check the order in classes.txt"


def size_fault(mask: tuple[int, ...], image: tuple[int, ...]) -> str:
    """Message that a mask (H, W) does not fit an image (H, W), as width x height, the order that viewers show."""
    return f"the mask is {mask[1]} x {mask[0]} pixels, its image {image[1]} x {image[0]}"
