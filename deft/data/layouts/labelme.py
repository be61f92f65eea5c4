"""``labelme:PATH``: a folder of images and the JSON files that LabelMe (Wada, github.com/wkentaro/labelme) writes.

```
PATH/NAME.jpg, NAME.json              any names, any folders inside
PATH/labels.txt or classes.txt        optional: names and order of the classes, one per line
PATH/val.txt                          optional: names of the images to hold out
```

Polygons, circles and masks are outlines; boxes, lines and points are labels alone, as are the flags of an image. The
label ``__ignore__`` is an area to ignore; ``_background_`` is nothing.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deft.contracts import InputError, Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, files_below, image_files, relative
from deft.data.images import read_mask
from deft.data.layouts.json_files import read_json
from deft.data.layouts.name_lists import CLASSES, class_name, read_names
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
    stem_of,
)
from deft.data.layouts.run_lengths import checked_counts, mask_to_counts
from deft.data.layouts.values import class_of, short, whole_number
from deft.data.options import chosen_options
from deft.guards.opening import exists

BACKGROUND = "_background_"


def read_labelme(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read all annotations below a folder; no image is decoded.

    Args:
        path: the folder.
        options: the text after ``?``: ``empty=drop``.
        faults: collects the faults of the files.
    """
    chosen = chosen_options(options, EMPTY, "labelme")
    images = image_files(path, faults=faults)
    photographs, sources, missing, strangers = annotated_images(path, images, faults)
    if not photographs and not missing and not faults.errors:
        faults.add(path, None, "expected JSON files of LabelMe next to images, found none", "save them there")
        return None
    if strangers:
        what = f"{len(strangers)} JSON files have no shapes, e.g. {strangers[0].name!r}"
        faults.warn(path, None, what, "they are not LabelMe's and are not read")
    fault_missing(missing, len(photographs) + len(missing), path, path, faults)
    left_out(images, photographs, "have no JSON file", faults)
    listed = next((path / name for name in ("labels.txt", "classes.txt") if exists(path / name)), None)
    order = [class_name(name) for _, name in read_names(listed, faults, most=CLASSES)] if listed else []
    order = [name for name in order if name not in (IGNORED, BACKGROUND)]
    classes = classes_in_order(photographs, order, listed or path, faults)
    if not classes and not faults.errors:
        faults.add(path, None, "expected labels, found none", "label some objects")
        return None
    val = held_out(path / "val.txt", images, faults)
    drop = chosen.get("empty") == "drop"
    return outlined_splits("labelme", images, photographs, classes, sources or [path], val, faults, drop=drop)


class Annotated(NamedTuple):
    """What the JSON files of a folder hold."""

    photographs: list[Photograph]
    sources: list[Path]
    """The file of each photograph."""
    missing: list[str]
    """Paths of images that are not there."""
    strangers: list[Path]
    """Files that are not LabelMe's."""


def annotated_images(path: Path, images: ImageFiles, faults: Faults) -> Annotated:
    """Read the JSON files below a folder, or a single one.

    Args:
        path: the folder, or the file.
        images: those that may be annotated.
        faults: collects the faults of the files.
    """
    names = ExportedNames.of(images)
    found = Annotated([], [], [], [])
    by_image: dict[int, Path] = {}
    files = [path] if path.is_file() else files_below(path)
    for file in sorted(each for each in files if each.suffix.lower() == ".json"):
        before = len(faults.errors)
        content = read_json(file, faults)
        if len(faults.errors) > before:
            continue
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            found.strangers.append(file)
            continue
        image = _image(content, file, names)
        if image is None:
            found.missing.append(str(content.get("imagePath")))
        elif by_image.setdefault(image, file) != file:
            what = f"{by_image[image].name} annotates the same image, {images.names[image]!r}"
            faults.add(file, None, what, "keep one annotation for each image")
        else:
            found.sources.append(file)
            found.photographs.append(Photograph(image, _things(content, file, faults), _size(content)))
    return found


def _image(content: dict[str, Any], file: Path, names: ExportedNames) -> int | None:
    """The image that a file describes: at its path, else next to the file, else any of that name."""
    said = content.get("imagePath")
    folder = relative(file.parent, names.images.root)
    beside = "" if folder == "." else f"{folder}/"
    if isinstance(said, str):
        for name in (beside + said, beside + stem_of(said), beside + file.stem):
            if len(found := names.images.find(name)) == 1:
                return found[0]
        return names.find(said)
    found = names.images.find(beside + file.stem)
    return found[0] if len(found) == 1 else None


def _size(content: dict[str, Any]) -> tuple[int, int] | None:
    height, width = whole_number(content.get("imageHeight")), whole_number(content.get("imageWidth"))
    return None if height is None or width is None or height < 1 or width < 1 else (height, width)


def _things(content: dict[str, Any], file: Path, faults: Faults) -> list[Thing]:
    things = []
    flags = content.get("flags")
    for name, given in flags.items() if isinstance(flags, dict) else ():
        if given is True and name not in (IGNORED, BACKGROUND) and (tag := class_of(name)):
            things.append(Thing(tag, tag=True))
    for index, shape in enumerate(content["shapes"]):
        name = class_of(shape.get("label")) if isinstance(shape, dict) else None
        if name is None:
            what = f"shape {index} has no label, but {short(shape.get('label') if isinstance(shape, dict) else shape)}"
            faults.add(file, None, what, "label or remove it")
        elif name != BACKGROUND:
            try:
                things.append(Thing(name, _outline(shape), ignored=name == IGNORED))
            except ValueError as error:
                faults.add(file, None, f"shape {index} ({name}): {error}", "correct or remove it")
    return things


def _outline(shape: dict[str, Any]) -> Outline | None:
    """The outline of a shape; None for boxes, lines and points."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in ("polygon", "circle", "mask"):
        return None
    points = read_ring(shape.get("points"))
    if kind == "polygon":
        return Polygons((points,))
    if len(points) != 2:
        raise ValueError(f"expected two points of a {kind}, got {len(points)}")
    if kind == "circle":
        (x, y), edge = points[0].tolist(), points[1]
        radius = float(np.hypot(*(edge - points[0])))
        return Polygons((ellipse(x, y, radius, radius),))
    try:
        values = read_mask(base64.b64decode(shape.get("mask") or "", validate=True))
    except (binascii.Error, TypeError, ValueError) as error:
        said = "its mask is not a PNG in base64" if not isinstance(error, InputError) else str(error)
        raise ValueError(said) from None
    size = (values.shape[0], values.shape[1])
    left, top = (int(np.clip(np.rint(value), -1e9, 1e9)) for value in points.min(axis=0))
    counts = checked_counts(mask_to_counts(values > 0, columns=False), size)
    return Runs(counts, size, (left, top), columns=False)
