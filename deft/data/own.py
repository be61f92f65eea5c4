"""A dataset of the user's own, from a function that reads an image; all but four arguments have defaults."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deft.artifacts.contents import joined
from deft.contracts import DigestFiles, InputError, Sample
from deft.data.files import files_below, relative
from deft.data.fingerprints import taught
from deft.data.sound import check_tags, image_fault, truth_fault

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageDataset:
    """A :class:`deft.Dataset` of labels and a function that reads an image.

    ::

        deft.ImageDataset(
            classes=("owl", "tit"),
            labels=deft.multi_hot([[0], [0, 1]], 2),
            image=lambda index: read_image(paths[index]),
            files=paths,
        )
    """

    def __init__(
        self,
        classes: Sequence[str],
        labels: ArrayLike,
        image: Callable[[int], NDArray[np.uint8] | Image],
        *,
        files: Sequence[str | Path] = (),
        version: str = "",
        mask: Callable[[int], NDArray[np.uint8] | None] | None = None,
        mask_files: Sequence[str | Path] = (),
        names: Sequence[str] = (),
        scored: ArrayLike | None = None,
        contexts: Sequence[str] = (),
        context_labels: ArrayLike | None = None,
        groups: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Store what is known about the images; none is read yet.

        ``image`` and ``mask`` are called from several threads and processes, in any order and any number of times.
        They must return the same for the same index: nothing in them may be random.

        Args:
            classes: names of the K classes, without background.
            labels: multi-hot, (N, K): which classes are in which image; :func:`deft.multi_hot` makes it from indices.
            image: returns image ``i``: RGB, uint8 (H, W, 3), or a PIL image in mode RGB.
            files: files that the images are read from; a folder stands for all files below it. From their contents a
                resumed run, or one that takes over stages, sees whether the data is still the same; with one file for
                each image, in their order, it names those that changed.
            version: instead of ``files``, or in addition: any word, to be changed by hand when the data changes.
            mask: returns the ground truth of image ``i``: uint8 (H, W), 0 background, k + 1 for class k, 255 ignore,
                or None if it has none. Used for scores only.
            mask_files: files that the masks are read from, or folders; they are left out of ``files``. Only scores are
                made again when one of them changes.
            names: one unique name per image, after which results are named; by default numbers.
            scored: (N,), the images that have a mask; by default all if ``mask`` is given, else none.
            contexts: names of the J context classes (grass, water, ...), which are not used in training.
            context_labels: multi-hot, (N, J).
            groups: named subsets of a held-out split, each (N,), which are also scored separately.

        Raises:
            InputError: an argument does not fit; the message names it.
        """
        self.classes = tuple(classes)
        self.labels = np.asarray(labels)
        count = len(self.labels)
        self.names = tuple(names) or tuple(f"image_{index:06d}" for index in range(count))
        self.scored = np.full(count, mask is not None) if scored is None else np.asarray(scored)
        self.contexts = tuple(contexts)
        self.context_labels = None if context_labels is None else np.asarray(context_labels)
        self.groups = {name: np.asarray(members) for name, members in (groups or {}).items()}
        self._image, self._mask = image, mask
        self._files, self._mask_files = _paths(files), _paths(mask_files)
        self._version = version
        check_tags("ImageDataset", self)
        if not self._files and not self._version:
            raise InputError(
                "ImageDataset: expected files=[...], which the images are read from, or version='1', a word that you "
                "change when the images change, got neither; without one a run could not detect changed images"
            )
        if missing := [file for file in (*self._files, *self._mask_files) if not file.exists()]:
            raise InputError(f"ImageDataset: {missing[0]} of its files does not exist; correct the path")

    def __len__(self) -> int:
        """N."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        """Read one image with its mask.

        Raises:
            InputError: what was read is not an image, or its mask does not fit it.
        """
        image = np.asarray(self._image(index))
        mask = self._mask(index) if self._mask is not None else None
        wrong = image_fault(image) or (
            "" if mask is None else truth_fault(mask, (image.shape[0], image.shape[1]), len(self.classes))
        )
        if wrong:
            raise InputError(f"{self.names[index]}: {wrong}")
        return Sample(self.names[index], image, self.labels[index].copy(), mask)

    @property
    def places(self) -> tuple[Path, ...]:
        """The files and folders that images and masks are read from."""
        return (*self._files, *self._mask_files)

    def without_truth(self) -> ImageDataset:
        """The same images and tags, without masks."""
        other = copy.copy(self)
        other._mask = None
        return other

    def fingerprint(self) -> str:
        """Digest of classes, names, labels, ``version`` and the bytes of each file; reads every file."""
        return taught(self).fingerprint

    def image_digests(self, digests: DigestFiles) -> list[str]:
        """Digest of each image, (N,), if there is one file for each; else a single one of all files."""
        masks = {os.path.abspath(path) for _, path in _below(self._mask_files)}
        files = [(name, path) for name, path in _below(self._files) if os.path.abspath(path) not in masks]
        found = digests([path for _, path in files])
        if len(found) == len(self) and not any(file.is_dir() for file in self._files):
            return [joined([self._version, one]) for one in found]
        return [joined([self._version, *(f"{name} {one}" for (name, _), one in zip(files, found, strict=True))])]

    def truth_digest(self, digests: DigestFiles) -> str:
        """Digest of the files of the masks; with none named, of those of the images."""
        if not self._mask_files:
            return joined(self.image_digests(digests))
        files = _below(self._mask_files)
        found = digests([path for _, path in files], strict=False)
        return joined([self._version, *(f"{name} {one}" for (name, _), one in zip(files, found, strict=True))])


def _paths(files: Sequence[str | Path]) -> tuple[Path, ...]:
    return tuple(Path(file).expanduser() for file in files)


def _below(files: Sequence[Path]) -> list[tuple[str, Path]]:
    """Files, and those below folders with their path in the folder, in an order that does not depend on the place."""
    found = []
    for file in files:
        inside = sorted((relative(path, file), path) for path in files_below(file)) if file.is_dir() else []
        found += inside if file.is_dir() else [("", file)]
    return found
