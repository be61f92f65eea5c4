"""Negatives: images that show none of the classes, from rows without tags and from a folder of photographs.

They teach a classifier what surrounds the objects (rails without a train). What is tagged with a class is no negative:
a folder in which a photograph is tagged, or is one of the tagged images, is refused before any work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deft.artifacts.contents import joined
from deft.contracts import Dataset, DigestFiles, InputError, Sample, Splits
from deft.data.copies import files_of, same_files
from deft.data.examples import TaggedImages, without_truth
from deft.data.faults import Faults, refuse
from deft.data.files import ImageFiles, files_below, image_files, relative
from deft.data.images import read_scaled
from deft.data.labels import read_label_csv, read_label_json
from deft.data.scaling import MAX_SIDE
from deft.guards.opening import exists
from deft.guards.words import shown

TABLES = ("labels.csv", "labels.tsv", "labels.json")
"""Names of tables of labels; other tables in a folder count if they can be read as one."""
_SUFFIXES = frozenset((".csv", ".tsv", ".json"))


class Negatives:
    """The images without tags of a dataset, and the photographs of a folder; read like a dataset."""

    def __init__(self, data: Dataset, folder: Path | None = None) -> None:
        """List them; no image is read.

        Args:
            data: training images.
            folder: photographs of which none shows a class, or None.
        """
        self._data = without_truth(data)
        self._rows = [int(index) for index in np.flatnonzero(~data.labels.any(axis=1))]
        self._files = None if folder is None else photographs_of(folder)
        outside = () if self._files is None else self._files.names
        self.names = (*(data.names[index] for index in self._rows), *outside)
        self.labels: NDArray[np.bool_] = np.zeros((len(self.names), len(data.classes)), dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """One image, without tags; a photograph of the folder with a longer side of at most ``MAX_SIDE`` pixels."""
        if index < len(self._rows):
            return self._data[self._rows[index]]
        if self._files is None:
            raise IndexError(index)
        path = self._files.paths[index - len(self._rows)]
        return Sample(self.names[index], read_scaled(path, MAX_SIDE).pixels, self.labels[index])


@dataclass(frozen=True)
class WithNegatives:
    """Training examples: a crop of a tagged image, and one of a random negative."""

    tagged: TaggedImages
    negatives: Negatives
    indices: tuple[int, ...]
    """The images with tags."""

    def __len__(self) -> int:
        return len(self.indices)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """``image`` and ``negative``, uint8 (3, crop, crop), and the ``labels`` of the image, float (K,)."""
        found = self.tagged.example(self.indices[index], rng)
        other = self.negatives[int(rng.integers(len(self.negatives)))]
        negative, _ = self.tagged.transform(other.image, None, self.tagged.fill, rng)
        return {**found, "negative": negative}

    def name(self, index: int) -> str:
        """Name of the tagged image."""
        return self.tagged.name(self.indices[index])


def with_negatives(tagged: TaggedImages, folder: Path | None) -> WithNegatives:
    """Examples of all images with tags, each beside a negative.

    Raises:
        InputError: there are no tagged images, or no negatives.
    """
    negatives = Negatives(tagged.data, folder)
    indices = tuple(int(index) for index in np.flatnonzero(tagged.data.labels.any(axis=1)))
    if not indices or not len(negatives):
        raise InputError(
            f"expected images with tags and images that show none of the classes, got {len(indices)} and "
            f"{len(negatives)}; add rows with an empty label to the table of labels, or name a folder of photographs"
        )
    return WithNegatives(tagged, negatives, indices)


def photographs_of(folder: Path) -> ImageFiles:
    """The photographs below a folder.

    Raises:
        InputError: it is no folder, or holds no photographs.
    """
    if not folder.is_dir():
        raise InputError(
            f"{shown(folder)}: expected a folder of photographs that show none of the classes, found none; "
            "correct the path"
        )
    found = image_files(folder)
    if not found.paths:
        raise InputError(
            f"{shown(folder)}: expected photographs that show none of the classes, found no image; put some into the "
            "folder, or name another"
        )
    return found


def check_negatives(splits: Splits, folder: Path | None, field: str) -> None:
    """Refuse data without negatives, and a folder that holds tagged images.

    Args:
        splits: the data of the run.
        folder: of photographs, or None.
        field: the setting that names the folder, for messages.

    Raises:
        InputError: there are no negatives; or a photograph of the folder is tagged with a class, by a table of labels
            or by the name of its folder, or is the same file as a tagged image.
    """
    train = splits.train
    if folder is None:
        if train.labels.any(axis=1).all():
            raise InputError(
                "expected images that show none of the classes, got none: every training image has a tag. Add rows "
                f"with an empty label to the table of labels, or a folder of photographs, --set {field}=FOLDER"
            )
        return
    found = photographs_of(folder)
    tagged = [*_in_tables(found, train.classes), *_in_folders(found, train.classes), *_in_data(found, splits)]
    if tagged:
        name, why = tagged[0]
        more = f" (and {len(tagged) - 1} more)" if len(tagged) > 1 else ""
        raise InputError(
            f"{field}: expected photographs that show none of the classes, but {shown(name)} in {shown(folder)} "
            f"{shown(why)}{more}; remove what shows a class from the folder, or name another"
        )


def negatives_digest(folder: Path | None, digests: DigestFiles) -> str:
    """Digest of the names and the bytes of the photographs of a folder; empty without one."""
    if folder is None:
        return ""
    paths = photographs_of(folder).paths
    lines = [f"{relative(path, folder)} {one}" for path, one in zip(paths, digests(paths), strict=True)]
    return joined(lines)


def _in_tables(found: ImageFiles, classes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Photographs that a table in the folder, or beside a folder ``images``, tags with a class, and how.

    Raises:
        InputError: a table that has the name of a table of labels cannot be read.
    """
    files = files_below(found.root)
    if found.root.name == "images":
        files += [found.root.parent / name for name in TABLES]
    tagged = []
    for table in sorted(file for file in files if file.suffix.lower() in _SUFFIXES and exists(file)):
        faults = Faults()
        if table.suffix.lower() == ".json":
            rows = read_label_json(table, faults, classes, found)
        else:
            rows = read_label_csv(table, classes, faults, found)
        if table.name in TABLES:
            refuse(faults.all, str(table))
        for row in rows:
            if (known := [tag for tag in row.tags if _same(tag, classes)]) and found.find(row.name):
                tagged.append((row.name, f"is tagged {known[0]!r} in {table.name}"))
    return tagged


def _in_folders(found: ImageFiles, classes: Sequence[str]) -> list[tuple[str, str]]:
    """Photographs in a folder with the name of a class."""
    named = []
    for path, name in zip(found.paths, found.names, strict=True):
        inside = path.relative_to(found.root).parts[:-1]
        if known := [part for part in inside if _same(part, classes)]:
            named.append((name, f"is in a folder {known[0]!r}, which is a class"))
    return named


def _in_data(found: ImageFiles, splits: Splits) -> list[tuple[str, str]]:
    """Photographs that are the same file as a tagged image."""
    parts = [part for part in (splits.train, splits.val) if part is not None]
    files = [files_of(part) for part in parts]
    same = []
    for group in same_files([found.paths, *files]):
        own = [index for split, index in group if split == 0]
        others = [(split - 1, index) for split, index in group if split > 0]
        for split, index in others if own else []:
            if bool(parts[split].labels[index].any()):
                tags = ", ".join(parts[split].classes[int(k)] for k in np.flatnonzero(parts[split].labels[index]))
                why = f"is the image {parts[split].names[index]} of the data, tagged {tags}"
                same += [(found.names[one], why) for one in own]
                break
    return same


def _same(word: str, classes: Sequence[str]) -> bool:
    """Whether a word is the name of a class, in any case."""
    return word.strip().casefold() in {name.casefold() for name in classes}
