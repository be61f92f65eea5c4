"""What a dataset teaches, and what it is only scored with: two digests that show whether either has changed.

Training sees images and tags. Its digest is of classes, names, tags and the bytes of images, in their order, and of
nothing else: not of where files lie, when they were written, or what masks show. What masks show, which images have
one, contexts and groups are in a second digest, on which only scores depend.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deft.artifacts.contents import DIGITS, whole
from deft.contracts import Dataset, DigestFiles, OfFiles


@dataclass(frozen=True)
class Taught:
    """What a split teaches."""

    classes: tuple[str, ...]
    tags: Mapping[str, tuple[int, ...]]
    """Indices of the classes of each image, by its name, in the dataset's order."""
    contents: tuple[str, ...]
    """Digest of each image, or a single one for all of them."""
    fingerprint: str
    """Hex digest of all of it."""

    def to_json(self) -> dict[str, Any]:
        """For :func:`deft.data.differences.differences`, later."""
        single = len(self.contents) != len(self.tags)
        each = ("",) * len(self.tags) if single else self.contents
        return {
            "classes": list(self.classes),
            "images": {name: [one, list(tags)] for (name, tags), one in zip(self.tags.items(), each, strict=True)},
        }


def taught(data: Dataset, digests: DigestFiles = whole) -> Taught:
    """What a split teaches.

    Args:
        data: of a dataset that does not know its files, :meth:`~deft.contracts.Dataset.fingerprint` is taken.
        digests: of files.

    Raises:
        InputError: a file of the dataset cannot be read.
    """
    known = isinstance(data, OfFiles)
    contents = tuple(data.image_digests(digests)) if isinstance(data, OfFiles) else (data.fingerprint(),)
    tagged = zip(data.names, data.labels, strict=True)
    tags = {name: tuple(int(k) for k in np.flatnonzero(labels)) for name, labels in tagged}
    digest = hashlib.sha256()
    for part in (data.classes, data.names):
        digest.update(repr(part).encode("utf-8", "backslashreplace"))
    digest.update(repr(data.labels.shape).encode() + np.packbits(data.labels).tobytes())
    digest.update("\n".join(contents).encode())
    fingerprint = digest.hexdigest()[:DIGITS] if known else contents[0]
    return Taught(data.classes, tags, contents, fingerprint)


def truth_fingerprint(data: Dataset, digests: DigestFiles = whole) -> str:
    """Hex digest of what a split is scored with; masks that cannot be read count as empty ones.

    The masks of a dataset that does not know its files are not in it, so that they need its own fingerprint.
    """
    digest = hashlib.sha256()
    for part in (data.contexts, sorted(data.groups)):
        digest.update(repr(part).encode("utf-8", "backslashreplace"))
    arrays = [data.scored, *([] if data.context_labels is None else [data.context_labels])]
    for array in arrays + [data.groups[name] for name in sorted(data.groups)]:
        digest.update(repr(array.shape).encode() + np.packbits(array).tobytes())
    digest.update((data.truth_digest(digests) if isinstance(data, OfFiles) else data.fingerprint()).encode())
    return digest.hexdigest()[:DIGITS]
