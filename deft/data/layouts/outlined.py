"""A dataset of image files with objects, whose masks are drawn from outlines: what annotation tools export.

Labels are the classes of all objects. Where outlines are known, a mask is drawn from them on demand: areas to ignore
first, as 255, then objects from the largest to the smallest, by area in pixels, so that an object in front of a larger
one is visible. An image has a mask only if the outlines of all its objects are known; boxes and tags are labels alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts.contents import joined
from deft.contracts import DigestFiles, InputError, Sample
from deft.data.fingerprints import taught
from deft.data.images import ImageSizes, image_sizes, read_scaled
from deft.data.layouts.outlines import Instance, Polygons, draw
from deft.data.places import places_of


@dataclass(frozen=True, eq=False)
class OutlinedImages:
    """A ``Dataset`` of one split; annotations are in memory, images are decoded and masks drawn on demand."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    images: tuple[Path, ...]
    """File of each image, (N,)."""
    labels: NDArray[np.bool_]
    """Multi-hot, (N, K)."""
    scored: NDArray[np.bool_]
    """(N,): has a mask, because the outlines of all its objects are known."""
    sizes: tuple[tuple[int, int] | None, ...]
    """(H, W) of each image according to the annotations, if they contain it."""
    instances: tuple[tuple[Instance, ...], ...]
    """Objects of each image, (N,)."""
    annotations: tuple[Path, ...]
    """The annotation files of the split."""
    stored: bool = False
    """Whether outlines refer to the pixels as stored if their size does not tell; else to the upright image."""
    contexts: tuple[str, ...] = ()
    context_labels: NDArray[np.bool_] | None = None
    groups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    draws: bool = True
    """Whether samples have masks."""

    def __len__(self) -> int:
        """N."""
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Decode one image and draw its mask; raises InputError naming the file if that fails."""
        return self.scaled(index, None)

    def scaled(self, index: int, max_side: int | None) -> Sample:
        """Decode one image, scaled down to at most ``max_side``, and draw its mask at full size."""
        path, mask = self.images[index], None
        image, size = read_scaled(path, max_side, upright=not self.scored[index] or self.drawn_upright(index))
        if self.draws and self.scored[index]:
            try:
                mask = draw(self.instances[index], size)
            except ValueError as error:
                raise InputError(f"{path}: its outlines cannot be drawn ({error}); export them again") from None
        photograph = None if image.shape[:2] == size else size
        return Sample(self.names[index], image, self.labels[index].copy(), mask, photograph=photograph)

    def size_of(self, index: int) -> tuple[int, int]:
        """(H, W) of a photograph, upright, from its header."""
        return image_sizes(self.images[index]).upright

    def drawn_upright(self, index: int) -> bool:
        """Whether the outlines of an image refer to the upright image, or to the pixels as stored.

        Most tools show photographs upright, some do not apply EXIF rotation: the size in the annotations tells.

        Raises:
            InputError: the file has neither size, or cannot be opened.
        """
        expected = self.sizes[index]
        if expected is None:
            return not self.stored
        found = image_sizes(self.images[index])
        fits = [upright for upright, size in ((False, found.stored), (True, found.upright)) if size == expected]
        if not fits:
            (height, width), (high, wide) = found.upright, expected
            raise InputError(
                f"{self.images[index]}: expected {wide} x {high} pixels as in the annotations, got {width} x {height}; "
                "use images and annotations of the same release, not resized"
            )
        return not self.stored if len(fits) == 2 else fits[0]

    def orientation_fault(self, index: int) -> tuple[str, str] | None:
        """Remark and remedy if EXIF turns a photograph and its size does not tell on which version it was outlined."""
        if not self.scored[index] or not self.instances[index]:
            return None
        found: ImageSizes = image_sizes(self.images[index])
        if not found.turned or (self.sizes[index] is not None and found.stored != found.upright):
            return None
        taken = "as stored" if self.stored else "upright"
        what = f"EXIF turns it, and its outlines are taken as drawn on the {taken} image, which its size cannot confirm"
        return what, "compare its mask; to be sure, save the image upright and outline that one"

    @property
    def places(self) -> set[Path]:
        """The annotation files and the folders of the images."""
        return set(self.annotations) | places_of(self.images)

    def without_truth(self) -> OutlinedImages:
        """The same images and tags, without masks."""
        return replace(self, draws=False)

    def fingerprint(self) -> str:
        """Digest of classes, names, labels and the bytes of each image; reads every file."""
        return taught(self).fingerprint

    def image_digests(self, digests: DigestFiles) -> list[str]:
        """Digest of each image's file, and of whether it is read as stored where EXIF turns it, (N,)."""
        with ThreadPoolExecutor(16) as pool:
            stored = list(pool.map(self._as_stored, range(len(self))))
        found = zip(digests(self.images), stored, strict=True)
        return [f"{digest} as stored" if as_stored else digest for digest, as_stored in found]

    def truth_digest(self, digests: DigestFiles) -> str:
        """Digest of the outlines, whose files are not read again."""
        drawn = zip(self.instances, self.sizes, self.scored, strict=True)
        return joined([_text(instances, size) if scored else "-" for instances, size, scored in drawn])

    def _as_stored(self, index: int) -> bool:
        """Whether an image that EXIF turns is read without being turned, to fit its outlines."""
        if not self.scored[index]:
            return False
        try:
            return image_sizes(self.images[index]).turned and not self.drawn_upright(index)
        except InputError:
            return False  # the image is refused when it is read


def _text(instances: tuple[Instance, ...], size: tuple[int, int] | None) -> str:
    """Objects of an image as text that is equal if they are."""
    digest = hashlib.sha256(repr(size).encode())
    for instance in instances:
        outline = instance.outline
        arrays: list[NDArray[Any]] = []
        if isinstance(outline, Polygons):
            said, arrays = f"polygons {outline.relative}", list(outline.rings)
        elif outline is not None:
            said, arrays = f"runs {outline.size} {outline.corner} {outline.columns}", [outline.counts]
        else:
            said = "none"
        digest.update(f"{instance.value} {said};".encode())
        for array in arrays:
            digest.update(repr(array.shape).encode() + array.tobytes())
    return digest.hexdigest()
