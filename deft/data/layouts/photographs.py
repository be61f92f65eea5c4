"""From the images that another tool's annotations describe to a dataset of the files in the user's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from deft.contracts import IGNORE, Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, normal_name, relative
from deft.data.labels import multi_hot
from deft.data.layouts.name_lists import check_classes, read_names
from deft.data.layouts.outlined import OutlinedImages
from deft.data.layouts.outlines import Instance, Outline, Polygons, require_pycocotools
from deft.guards.opening import exists

IGNORED = "__ignore__"
"""Label of areas to ignore, which become 255: LabelMe's name, which the exports of deft use in all formats."""
MISSING_REMEDY = "put all images of the annotations there"
EMPTY = {"empty": ("keep", "drop")}
"""The option that all layouts with outlines have."""


class Thing(NamedTuple):
    """An object in an image, or a tag of the whole image."""

    name: str
    """Its class."""
    outline: Outline | None = None
    ignored: bool = False
    """A crowd, or an area to ignore: no label."""
    tag: bool = False
    """Of the whole image: it says nothing about where its objects are."""


class Photograph(NamedTuple):
    """An image with its annotations."""

    image: int
    """Index in the files of the folder."""
    things: Sequence[Thing]
    size: tuple[int, int] | None = None
    """(H, W) of the image that was annotated, if known."""


@dataclass(frozen=True)
class ExportedNames:
    """Finds image files by the paths that other tools write: absolute, of another computer, or with other folders."""

    images: ImageFiles
    _by_last: Mapping[str, Sequence[int]] = field(repr=False)

    @classmethod
    def of(cls, images: ImageFiles) -> ExportedNames:
        """Index the files of a folder."""
        by_last: dict[str, list[int]] = {}
        by_stem: dict[str, list[int]] = {}
        for index, path in enumerate(images.paths):
            last = normal_name(relative(path, images.root)).split("/")[-1]
            by_last.setdefault(last, []).append(index)
            by_stem.setdefault(last[: len(last) - len(path.suffix)], []).append(index)
        return cls(images, by_stem | by_last)

    def find(self, name: str) -> int | None:
        """Index of the image; None if there is none, or several fit equally well.

        A path that is not there as a whole may refer to the file that shares most of its end; of several, to the one
        whose whole path is that end.
        """
        exact = self.images.find(name)
        if len(exact) == 1:
            return exact[0]
        parts = [part for part in re.split(r"[\\/]+", normal_name(name)) if part]
        if not parts:
            return None
        shared: dict[int, tuple[int, bool]] = {}
        for index in self._by_last.get(parts[-1], ()):
            path = normal_name(relative(self.images.paths[index], self.images.root)).split("/")
            count = 1
            while count < min(len(path), len(parts)) and path[-1 - count] == parts[-1 - count]:
                count += 1
            shared[index] = count, count == len(path)
        best = [index for index, count in shared.items() if count == max(shared.values())]
        return best[0] if len(best) == 1 else None


def fault_missing(missing: Sequence[str], total: int, source: Path, folder: Path, faults: Faults) -> None:
    """Add one fault for images that are in the annotations but not in the folder."""
    if missing:
        what = f"{len(missing)} of the {total} images of {source.name} are missing, e.g. {missing[0]!r}"
        faults.add(folder, None, what, MISSING_REMEDY)


def outlined_images(
    kind: str,
    images: ImageFiles,
    photographs: Sequence[Photograph],
    classes: tuple[str, ...],
    annotations: Sequence[Path],
    faults: Faults,
    *,
    drop: bool = False,
    stored: bool = False,
) -> OutlinedImages:
    """The dataset of a split.

    Args:
        kind: of the data, for messages.
        images: the files of the folder.
        photographs: the images of the split, each once.
        classes: names of the K classes; every thing that is not ignored is one of them.
        annotations: the files with the annotations, of which the first is named in remarks.
        faults: collects remarks.
        drop: leave out images without a label.
        stored: see :class:`OutlinedImages`.

    Raises:
        InputError: there are polygons to draw, and pycocotools is not installed.
    """
    position = {name: index for index, name in enumerate(classes)}
    present = [sorted({position[one.name] for one in each.things if not one.ignored}) for each in photographs]
    where = annotations[0] if annotations else images.root
    if (empty := sum(not found for found in present)) and not drop:
        what = f"{empty} of {len(photographs)} images show no object of a class and are trained on without labels"
        faults.warn(where, None, what, "append ?empty=drop to the path to leave them out")
    chosen = [(each, found) for each, found in zip(photographs, present, strict=True) if found or not drop]
    outlines = [one.outline for each, _ in chosen for one in each.things if one.outline is not None]
    if any(isinstance(outline, Polygons) for outline in outlines):
        require_pycocotools(kind)
    complete = [bool(outlines) and _is_complete(each.things) for each, _ in chosen]
    if outlines and (partly := complete.count(False)):
        what = f"{partly} of {len(chosen)} images have objects without an outline, which are labels alone"
        faults.warn(where, None, what, "these images are not scored; outline all their objects if they should be")
    return OutlinedImages(
        classes=classes,
        names=tuple(images.names[each.image] for each, _ in chosen),
        images=tuple(images.paths[each.image] for each, _ in chosen),
        labels=multi_hot([found for _, found in chosen], len(classes)),
        scored=np.array(complete, dtype=np.bool_),
        sizes=tuple(each.size for each, _ in chosen),
        instances=tuple(
            tuple(Instance(IGNORE if one.ignored else position[one.name] + 1, one.outline) for one in each.things)
            for each, _ in chosen
        ),
        annotations=tuple(annotations),
        stored=stored,
    )


def outlined_splits(
    kind: str,
    images: ImageFiles,
    photographs: Sequence[Photograph],
    classes: tuple[str, ...],
    annotations: Sequence[Path],
    val: frozenset[int],
    faults: Faults,
    *,
    drop: bool = False,
) -> Splits:
    """Both splits of photographs in one folder.

    Args:
        kind: of the data, for messages.
        images: the files of the folder.
        photographs: all images, each once.
        classes: names of the K classes.
        annotations: the files with the annotations.
        val: indices of the files to hold out.
        faults: collects faults and remarks.
        drop: leave out images without a label.
    """
    check_classes(classes, None, annotations[0] if annotations else images.root, faults)
    parts = [[each for each in photographs if (each.image in val) == held] for held in (False, True)]
    if val and not parts[0]:
        faults.add(images.root, None, "no image is left to train on", "hold out fewer images")
    train, held = (
        outlined_images(kind, images, part, classes, annotations, faults, drop=drop) if part or not place else None
        for place, part in enumerate(parts)
    )
    if train is None:
        raise AssertionError("there is always a training split")
    return Splits(train, held)


def left_out(images: ImageFiles, photographs: Sequence[Photograph], what: str, faults: Faults) -> None:
    """Add a remark about images of the folder that have no annotation."""
    found = {each.image for each in photographs}
    others = [name for index, name in enumerate(images.names) if index not in found]
    if others:
        said = f"{len(others)} of {len(images.names)} images {what}, e.g. {others[0]!r}"
        faults.warn(images.root, None, said, "they are left out; annotate them to use them")


def _is_complete(things: Sequence[Thing]) -> bool:
    """Whether all objects have an outline, and also some of each class that is a tag of the whole image."""
    outlined = {one.name for one in things if one.outline is not None}
    return all(one.name in outlined if one.tag else one.outline is not None for one in things)


def classes_in_order(
    photographs: Sequence[Photograph], listed: Sequence[str], source: Path, faults: Faults
) -> tuple[str, ...]:
    """The listed classes, or all that occur, sorted; a class that occurs and is not listed is a fault."""
    found = {one.name for each in photographs for one in each.things if not one.ignored}
    listed = [name for name in listed if name != IGNORED]
    if not listed:
        return tuple(sorted(found))
    for name in sorted(found.difference(listed)):
        faults.add(source, None, f"class {name!r} occurs but is not listed", f"list it in {source.name}")
    return tuple(dict.fromkeys([*listed, *sorted(found.difference(listed))]))


def held_out(path: Path, images: ImageFiles, faults: Faults) -> frozenset[int]:
    """Indices of the images that ``val.txt`` lists, if there is one."""
    if not exists(path):
        return frozenset()
    found = (images.find_or_fault(name, faults, path, line) for line, name in read_names(path, faults))
    return frozenset(index for index in found if index is not None)


def stem_of(name: str) -> str:
    """File name without folders and suffix."""
    return PurePosixPath(name.replace("\\", "/")).stem
