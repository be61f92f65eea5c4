"""``coco:PATH``: COCO (Lin et al., 2014, arXiv:1405.0312) as distributed, and as other tools export it.

```
PATH/annotations/instances_train2014.json, instances_val2014.json
PATH/train2014/, val2014/                                             or 2017 in all four names
```

COCO has no semantic masks, and there is no agreed way to draw them: see :mod:`deft.data.layouts.outlined`. Crowds are
ignored areas, 255. Classes are in the order of their category ids. Annotations without an outline are labels alone.

Polygons refer to the pixels as stored, unless the sizes in the annotations are those of the upright images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deft.contracts import Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, image_files
from deft.data.layouts.coco_records import Annotation, read_annotations, read_categories, read_images
from deft.data.layouts.json_files import read_json
from deft.data.layouts.name_lists import check_classes
from deft.data.layouts.outlined import OutlinedImages
from deft.data.layouts.outlines import Runs
from deft.data.layouts.photographs import (
    EMPTY,
    Photograph,
    Thing,
    outlined_images,
)
from deft.data.layouts.values import id_order, short
from deft.data.options import chosen_options
from deft.guards.opening import exists, is_folder

YEARS = ("2014", "2017")
_NO_CLASS = frozenset(
    ("background", "__background__", "_background_", "bg", "root", "n/a", "__ignore__", "void", "unlabeled")
)
"""Names that some tools list as a category, although no object can have them."""


class _Place(NamedTuple):
    """Where a tool puts annotations and images, relative to PATH; the first folder that exists is read."""

    train: str
    train_folders: tuple[str, ...]
    val: str
    val_folders: tuple[str, ...]


def _release(year: str) -> _Place:
    return _Place(
        *(f"annotations/instances_train{year}.json", (f"train{year}",)),
        *(f"annotations/instances_val{year}.json", (f"val{year}",)),
    )


_PLACES = (
    *map(_release, YEARS),
    _Place(
        *("annotations/instances_train.json", ("train", "images/train", "images")),
        *("annotations/instances_val.json", ("val", "images/val", "images")),
    ),
    # Roboflow; CVAT and Datumaro; Label Studio
    _Place("train/_annotations.coco.json", ("train",), "valid/_annotations.coco.json", ("valid",)),
    _Place("annotations/instances_default.json", ("images/default", "images"), "", ()),
    _Place("result.json", ("images",), "", ()),
)


@dataclass(frozen=True)
class Part:
    """The annotations of one split."""

    file: Path
    images: ImageFiles
    names: dict[str, str | None]
    """Name of each category id."""
    parents: frozenset[str]
    """Names that are the supercategory of others."""
    photographs: dict[str, tuple[int, tuple[int, int] | None]]
    """Index and size of the image with each id."""
    objects: dict[str, list[Annotation]]
    """Of each image id."""

    def annotated(self, faults: Faults) -> list[Photograph]:
        """The images with their objects of named categories, and their sizes."""
        photographs = []
        for key, (image, size) in self.photographs.items():
            found = self.objects[key]
            things = [
                Thing(name, each.outline, each.crowd)
                for each in found
                if (name := self.names.get(each.category)) is not None
            ]
            sizes = {each.outline.size for each in found if isinstance(each.outline, Runs)}
            if size is None and len(sizes) > 1:
                what = f"image {key}: its annotations have run lengths of {len(sizes)} sizes"
                faults.add(self.file, None, what, "write the width and height of the image")
            photographs.append(Photograph(image, things, size or next(iter(sizes), None)))
        return photographs

    @property
    def used(self) -> set[str]:
        """Category ids that annotations have."""
        return {each.category for found in self.objects.values() for each in found}


def read_coco(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read both annotation files; no image is decoded.

    Args:
        path: the folder with ``annotations``.
        options: the text after ``?``: ``empty=drop``, ``year=2017``, separated by ``,`` or ``&``.
        faults: collects the faults of the files.

    Raises:
        InputError: an option is unknown, or there are polygons and pycocotools is not installed.
    """
    chosen = chosen_options(options, EMPTY | {"year": YEARS}, "coco")
    places = [_release(chosen["year"])] if "year" in chosen else list(_PLACES)
    place = next((each for each in places if exists(path / each.train)), places[0])
    train = _part(path / place.train, _folder(path, place.train_folders), faults)
    if train is None:
        return None
    val = None
    if place.val and exists(path / place.val):
        val = _part(path / place.val, _folder(path, place.val_folders), faults)
        if val is None:
            return None
    classes = _classes(train, val, faults)
    if classes is None:
        return None
    drop = chosen.get("empty") == "drop"
    held = None if val is None else _dataset(val, classes, drop, faults)
    return Splits(_dataset(train, classes, drop, faults), held)


def _folder(path: Path, names: Sequence[str]) -> Path:
    return next((path / name for name in names if is_folder(path / name)), path / names[0])


def _dataset(part: Part, classes: tuple[str, ...], drop: bool, faults: Faults) -> OutlinedImages:
    known = set(classes)
    photographs = [
        each._replace(things=[thing for thing in each.things if thing.name in known]) for each in part.annotated(faults)
    ]
    return outlined_images("coco", part.images, photographs, classes, [part.file], faults, drop=drop, stored=True)


def _classes(train: Part, val: Part | None, faults: Faults) -> tuple[str, ...] | None:
    """Names of the classes in the order of their ids; None and a fault if the splits differ."""
    parts = [train] if val is None else [train, val]
    used = {part.names.get(key) for part in parts for key in part.used}
    parents = frozenset().union(*(part.parents for part in parts))
    classes: list[str] = []
    for part in parts:
        dropped = []
        for key in sorted(part.names, key=id_order):
            name = part.names[key]
            if name is None and key not in part.used:
                dropped.append(f"category {key} without a name")
            elif name is not None and name not in used and (name.casefold() in _NO_CLASS or name in parents):
                dropped.append(repr(name))
            elif name is not None and part is train:
                classes.append(name)
            elif name is not None and name not in classes:
                faults.add(part.file, None, "its categories differ from those of train", "use files of one release")
                return None
        if dropped:
            what = f"no object has {', '.join(dropped[:5])}, which is no class"
            faults.warn(part.file, None, what, "nothing to do: it is left out")
    if len(set(classes)) < len(classes):
        twice = sorted({name for name in classes if classes.count(name) > 1})
        what = f"{len(twice)} classes have several category ids, e.g. {twice[0]!r}"
        faults.warn(train.file, None, what, "nothing to do: they are taken as one class each")
    found = tuple(dict.fromkeys(classes))
    check_classes(found, None, train.file, faults)
    if not found:
        faults.add(train.file, None, "expected categories with names, found none", "export it with its categories")
        return None
    return found


def _part(file: Path, folder: Path, faults: Faults) -> Part | None:
    for needed, found in ((file, exists(file)), (folder, is_folder(folder))):
        if not found:
            faults.add(needed, None, "expected the annotations and images of COCO, found none", "unpack them there")
            return None
    return read_part(file, image_files(folder, faults=faults), faults)


def read_part(file: Path, images: ImageFiles, faults: Faults) -> Part | None:
    """Read one file of annotations; None and a fault if it is none.

    Args:
        file: the JSON file.
        images: those that may be annotated.
        faults: collects the faults of the file.
    """
    before = len(faults.errors)
    content = read_json(file, faults)
    if len(faults.errors) > before:
        return None
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        came = f"only {', '.join(map(short, list(content)[:5]))}" if isinstance(content, dict) else short(content)
        what = f"expected annotations of instances, an object with lists of {', '.join(keys)}, got {came}"
        faults.add(file, None, what, "export it as COCO instances")
        return None
    names, parents = read_categories(content["categories"], file, faults)
    photographs = read_images(content["images"], images, file, faults)
    objects: dict[str, list[Annotation]] = {key: [] for key in photographs}
    read_annotations(content["annotations"], names, photographs, objects, file, faults)
    there = {key: (index, size) for key, (index, size) in photographs.items() if index is not None}
    return Part(file, images, names, parents, there, objects)
