"""``coco``: instances and stuff, as COCO (Lin et al., 2014, arXiv:1405.0312) has them.

```
OUT/images/train/NAME.jpg, val/
OUT/annotations/instances_train.json      an annotation for each region: polygons, or run lengths if it has a hole
OUT/annotations/stuff_train.json          an annotation for each class of an image, with run lengths, as in COCO-Stuff
```

Run lengths are uncompressed, column by column. Areas to ignore are crowds in the instances, of each class of the image,
because a crowd of a class is ignored in the scores of this class alone; the stuff leaves them out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE
from deft.data.faults import Faults
from deft.data.files import ImageFiles
from deft.data.layouts.coco import read_part
from deft.data.layouts.run_lengths import mask_to_counts
from deft.export.picture import TRAIN, VAL, Picture, Place, Style
from deft.export.shapes import Shape, values_in
from deft.export.take_in import Found


class CocoWriter:
    """Writes COCO's annotations."""

    def __init__(self, style: Style) -> None:
        """Begin an export."""
        self._style = style
        self._images: dict[str, list[dict[str, Any]]] = {TRAIN: [], VAL: []}
        self._instances: dict[str, list[dict[str, Any]]] = {TRAIN: [], VAL: []}
        self._stuff: dict[str, list[dict[str, Any]]] = {TRAIN: [], VAL: []}

    def image(self, place: Place) -> str:
        """The photograph."""
        return f"images/{place.part}/{place.file}"

    def beside(self, place: Place) -> Sequence[str]:
        """Nothing."""
        return ()

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """The annotations of both kinds."""
        return [f"annotations/{kind}_{part}.json" for part in sorted(parts) for kind in ("instances", "stuff")]

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """Keep the annotations of an image."""
        part, (height, width) = picture.place.part, picture.size
        images = self._images[part]
        key = len(images) + 1
        images.append({"id": key, "file_name": picture.place.file, "width": width, "height": height})
        values = [value for value in values_in(picture.mask) if value != IGNORE]
        for shape in self._style.shapes_of(picture):
            if shape.value != IGNORE:
                own: Any = _runs(_in_image(shape, picture.size))
                if shape.polygon is not None:
                    own = [[_plain(number) for number in shape.polygon.ravel().tolist()]]
                self._note(self._instances[part], key, shape.value, own, shape.region.box, int(shape.pixels.sum()))
        for value in values:
            inside = picture.mask == value
            self._note(self._stuff[part], key, value, _runs(inside), _box(inside), int(inside.sum()))
        ignored = picture.mask == IGNORE
        if ignored.any():
            for value in values or [1]:
                area = int(ignored.sum())
                self._note(self._instances[part], key, value, _runs(ignored), _box(ignored), area, crowd=1)
        return {}

    def finish(self) -> Mapping[str, bytes]:
        """The annotations."""
        categories = [{"id": k, "name": name, "supercategory": name} for k, name in enumerate(self._style.classes, 1)]
        files = {}
        for part, images in self._images.items():
            for kind, notes in (("instances", self._instances[part]), ("stuff", self._stuff[part])):
                if images:
                    content = {
                        "info": {"description": "masks exported by deft; coordinates are of upright images"},
                        "licenses": [],
                        "images": images,
                        "annotations": notes,
                        "categories": categories,
                    }
                    files[f"annotations/{kind}_{part}.json"] = json.dumps(content).encode()
        return files

    @staticmethod
    def _note(
        notes: list[dict[str, Any]],
        image: int,
        value: int,
        segmentation: Any,
        box: tuple[int, int, int, int],
        area: int,
        crowd: int = 0,
    ) -> None:
        left, top, right, bottom = box
        notes.append(
            {
                "id": len(notes) + 1,
                "image_id": image,
                "category_id": value,
                "segmentation": segmentation,
                "area": area,
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": crowd,
            }
        )


def _plain(number: float) -> float | int:
    return int(number) if number == int(number) else round(number, 3)


def _runs(inside: NDArray[np.bool_]) -> dict[str, Any]:
    return {"size": list(inside.shape), "counts": mask_to_counts(inside)}


def _in_image(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A region in an image of (H, W)."""
    found = np.zeros(size, dtype=np.bool_)
    left, top, right, bottom = shape.region.box
    found[top:bottom, left:right] = shape.pixels
    return found


def _box(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def read_coco_masks(path: Path, images: ImageFiles, classes: Sequence[str], faults: Faults) -> list[Found]:
    """Read a file of instances, or all of them in a folder or its ``annotations``.

    Args:
        path: the file or folder.
        images: those of the run.
        classes: not needed: the file names its classes.
        faults: collects faults.
    """
    folder = path / "annotations" if (path / "annotations").is_dir() else path
    files = [path] if path.is_file() else sorted(folder.glob("*.json"))
    files = [file for file in files if path.is_file() or not file.name.startswith("stuff_")]
    if not files:
        faults.add(
            folder, None, "expected annotations of COCO as JSON files, found none", "name the file, or its folder"
        )
    found: list[Found] = []
    seen: dict[int, Path] = {}
    for file in files:
        part = read_part(file, images, faults)
        for photograph in [] if part is None else part.annotated(faults):
            other = seen.setdefault(photograph.image, file)
            if other != file:
                what = f"{other.name} annotates image {images.names[photograph.image]!r} too"
                faults.add(file, None, what, "name one of the two files")
            else:
                found.append(Found(photograph.image, file, photograph))
    return found
