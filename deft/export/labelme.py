"""``labelme``: a JSON file beside each photograph, as LabelMe (Wada, github.com/wkentaro/labelme) writes them.

::

    OUT/NAME.jpg, NAME.json
    OUT/labels.txt                            names of the classes, for ``labelme --labels labels.txt``

A region is a polygon, and a mask if it has a hole: a PNG in base64, within a box whose corners are the first and the
last pixel. LabelMe shows photographs upright. Areas to ignore have the label ``__ignore__``.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deft.data.faults import Faults
from deft.data.files import ImageFiles
from deft.data.layouts.labelme import annotated_images
from deft.data.layouts.photographs import IGNORED, fault_missing
from deft.export.picture import Picture, Place, Style
from deft.export.shapes import Shape
from deft.export.take_in import Found

_VERSION = "5.4.1"
"""The first version of LabelMe with masks was 5.2; it reads files of any version."""


class LabelMeWriter:
    """Writes LabelMe's files."""

    def __init__(self, style: Style) -> None:
        """Begin an export."""
        self._style = style

    def image(self, place: Place) -> str:
        """The photograph."""
        return place.file

    def beside(self, place: Place) -> Sequence[str]:
        """The annotation."""
        return (f"{place.stem}.json",)

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """Names of the classes."""
        return ("labels.txt",)

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """The annotation of an image."""
        height, width = picture.size
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [self._shape(shape) for shape in self._style.shapes_of(picture)],
            "imagePath": picture.place.file.rpartition("/")[2],
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        return {self.beside(picture.place)[0]: json.dumps(content, indent=2, ensure_ascii=False).encode()}

    def finish(self) -> Mapping[str, bytes]:
        """Names of the classes."""
        return {"labels.txt": "".join(f"{name}\n" for name in (IGNORED, *self._style.classes)).encode()}

    def _shape(self, shape: Shape) -> dict[str, Any]:
        common: dict[str, Any] = {
            "label": self._style.name(shape.value),
            "group_id": None,
            "description": "",
            "flags": {},
        }
        if shape.polygon is not None:
            return common | {"points": shape.polygon.tolist(), "shape_type": "polygon", "mask": None}
        buffer = io.BytesIO()
        Image.fromarray(shape.pixels.astype(np.uint8)).save(buffer, format="PNG")
        left, top, right, bottom = shape.region.box
        return common | {
            "points": [[float(left), float(top)], [float(right - 1), float(bottom - 1)]],
            "shape_type": "mask",
            "mask": base64.b64encode(buffer.getvalue()).decode(),
        }


def read_labelme_masks(path: Path, images: ImageFiles, classes: Sequence[str], faults: Faults) -> list[Found]:
    """Read the JSON files below a folder, or one of them.

    Args:
        path: the folder or file.
        images: those of the run.
        classes: not needed: the files name their classes.
        faults: collects faults.
    """
    found = annotated_images(path, images, faults)
    if not found.photographs and not found.missing and not faults.errors:
        faults.add(path, None, "expected JSON files of LabelMe, found none", "name the folder where it saved them")
    fault_missing(found.missing, len(found.photographs) + len(found.missing), path, path, faults)
    return [Found(each.image, file, each) for each, file in zip(found.photographs, found.sources, strict=True)]
