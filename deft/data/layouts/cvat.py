"""``cvat:PATH``: an export of CVAT in the format "CVAT for images 1.1".

```
PATH/annotations.xml
PATH/images/                          the images, with any folders inside; PATH itself if there is no images/
PATH/val.txt                          optional: names of images to hold out, besides those of a subset for validation
```

Polygons, ellipses and masks are outlines; boxes, lines, points, cuboids and skeletons are labels alone, as are tags of
an image. Classes are in the order of the export's list of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deft.contracts import Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, image_files
from deft.data.layouts.outlines import Outline, Polygons, Runs, ellipse, read_ring
from deft.data.layouts.photographs import (
    EMPTY,
    IGNORED,
    ExportedNames,
    Photograph,
    Thing,
    classes_in_order,
    fault_missing,
    held_out,
    left_out,
    outlined_splits,
)
from deft.data.layouts.run_lengths import checked_counts
from deft.data.layouts.values import class_of, number, short, whole_number
from deft.data.layouts.xml_files import read_xml
from deft.data.options import chosen_options
from deft.guards.opening import exists, is_folder

SHAPES = ("box", "polygon", "polyline", "points", "ellipse", "mask", "cuboid", "skeleton", "tag")
MAX_BYTES = 2**30
"""Largest file that is read: one file describes all images."""
_VAL = frozenset(("val", "valid", "validation"))


@dataclass
class _Image:
    """An ``<image>`` of the file."""

    name: str
    subset: str
    size: tuple[int, int] | None
    line: int
    things: list[Thing] = field(default_factory=list)


@dataclass
class Export:
    """What is collected while the file is parsed."""

    file: Path
    faults: Faults
    images: list[_Image] = field(default_factory=list)
    labels: dict[str, bool] = field(default_factory=dict)
    """Names of the labels; whether each is a class, and no part of a skeleton."""
    root: str = ""
    tracks: int = 0
    label: str = ""

    def start(self, tags: Sequence[str], attributes: Mapping[str, str], line: int) -> None:
        """A tag begins."""
        self.root = self.root or tags[0]
        if tags[-1] == "track":
            self.tracks += 1
        elif tags[-1] == "image" and len(tags) == 2:
            size = whole_number(attributes.get("height")), whole_number(attributes.get("width"))
            known = None if size[0] is None or size[1] is None or min(size[0], size[1]) < 1 else (size[0], size[1])
            self.images.append(_Image(attributes.get("name", ""), attributes.get("subset", ""), known, line))
        elif tags[-2:-1] == ["image"] and tags[-1] in SHAPES and self.images:
            self._add(tags[-1], attributes, line)

    def end(self, tags: Sequence[str], text: str, line: int) -> None:
        """A tag ends."""
        if list(tags[-3:]) == ["labels", "label", "name"]:
            self.label = class_of(text) or ""
            self.labels.setdefault(self.label, True)
        elif list(tags[-3:]) == ["labels", "label", "parent"] and text.strip():
            self.labels[self.label] = False

    def _add(self, shape: str, attributes: Mapping[str, str], line: int) -> None:
        name = class_of(attributes.get("label"))
        if name is None:
            self.faults.add(self.file, line, f"a {shape} has no label", "label or remove it")
            return
        try:
            outline = _outline(shape, attributes)
        except ValueError as error:
            self.faults.add(self.file, line, f"{shape} of {name!r}: {error}", "correct or remove it")
            return
        self.images[-1].things.append(Thing(name, outline, ignored=name == IGNORED, tag=shape == "tag"))


def read_cvat(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read the export; no image is decoded.

    Args:
        path: the folder, or the XML file in it.
        options: the text after ``?``: ``empty=drop``.
        faults: collects the faults of the file.
    """
    chosen = chosen_options(options, EMPTY, "cvat")
    file = path / "annotations.xml" if path.is_dir() else path
    folder = file.parent
    if not exists(file):
        faults.add(file, None, "expected an export of CVAT for images, found none", "unpack it there")
        return None
    export = read_export(file, faults)
    if export is None:
        return None
    images = image_files(folder / "images" if is_folder(folder / "images") else folder, faults=faults)
    photographs, val = annotated_images(export, images, faults)
    left_out(images, photographs, "are not in the export", faults)
    labels = [name for name, is_class in export.labels.items() if is_class and name]
    classes = classes_in_order(photographs, labels, file, faults)
    if not classes and not faults.errors:
        faults.add(file, None, "expected labels, found none", "label some objects")
        return None
    val |= held_out(folder / "val.txt", images, faults)
    drop = chosen.get("empty") == "drop"
    return outlined_splits("cvat", images, photographs, classes, [file], val, faults, drop=drop)


def read_export(file: Path, faults: Faults) -> Export | None:
    """Parse an export; None and a fault if it is none of images."""
    export = Export(file, faults)
    if not read_xml(file, faults, export.start, export.end, MAX_BYTES):
        return None
    if export.root == "annotations" and export.images:
        return export
    came = f"{export.tracks} tracks of CVAT for video" if export.tracks else f"<{export.root[:40]}>"
    what = f"expected <annotations> with an <image> for each image, got {came}"
    faults.add(file, 1, what, 'export the task again as "CVAT for images 1.1"')
    return None


def annotated_images(export: Export, images: ImageFiles, faults: Faults) -> tuple[list[Photograph], frozenset[int]]:
    """The images of an export that are there, and which of them are of a subset for validation."""
    names = ExportedNames.of(images)
    found: dict[int, Photograph] = {}
    val: set[int] = set()
    missing = []
    for image in export.images:
        index = names.find(image.name)
        if index is None:
            missing.append(image.name)
        elif index in found:
            what = f"two images are {images.names[index]!r}"
            faults.add(export.file, image.line, what, "keep the folders of the images as they were exported")
        else:
            found[index] = Photograph(index, image.things, image.size)
            if image.subset.strip().casefold() in _VAL:
                val.add(index)
    fault_missing(missing, len(export.images), export.file, images.root, faults)
    return list(found.values()), frozenset(val)


def _outline(shape: str, attributes: Mapping[str, str]) -> Outline | None:
    """The outline of a shape; None for those that are labels alone."""
    if shape == "polygon":
        points = [point.split(",") for point in attributes.get("points", "").split(";") if point.strip()]
        return Polygons((read_ring(points),))
    if shape == "ellipse":
        x, y, rx, ry = (_number(attributes, name) for name in ("cx", "cy", "rx", "ry"))
        return Polygons((ellipse(x, y, rx, ry, number(attributes.get("rotation")) or 0.0),))
    if shape != "mask":
        return None
    left, top, width, height = (round(_number(attributes, name)) for name in ("left", "top", "width", "height"))
    if width < 1 or height < 1:
        raise ValueError(f"expected a width and height of 1 and more, got {short(width)} and {short(height)}")
    counts = checked_counts(attributes.get("rle", "").replace(",", " ").split(), (height, width))
    return Runs(counts, (height, width), (left, top), columns=False)


def _number(attributes: Mapping[str, str], name: str) -> float:
    found = number(attributes.get(name))
    if found is None:
        raise ValueError(f"expected a number as {name}, got {short(attributes.get(name))}")
    return found
