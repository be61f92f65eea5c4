"""``labelstudio``: tasks with predictions, which Label Studio shows as pre-annotations to be corrected.

```
OUT/images/NAME.jpg
OUT/tasks.json                            a task for each image; import it into the project
OUT/config.xml                            the labelling interface, to be pasted into the project's settings
```

Each class of an image is one brush, or with polygons each region without a hole is a polygon. Paths of images are those
of local files (``/data/local-files/?d=images/NAME.jpg``), for a server started with
``LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true`` and ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=OUT``, and a project with
OUT/images among its source storages. Coordinates are per cent of the upright image, as browsers show it. Areas to
ignore have the label ``__ignore__``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from deft.contracts import IGNORE
from deft.data.faults import Faults
from deft.data.files import ImageFiles
from deft.data.layouts.label_studio import annotated_images, read_tasks
from deft.data.layouts.photographs import IGNORED, fault_missing
from deft.data.layouts.run_lengths import mask_to_brush
from deft.export.picture import MASKS, Picture, Place, Style
from deft.export.shapes import values_in
from deft.export.take_in import Found

_BRUSH, _POLYGON = "brush", "polygon"
"""Names of the controls in the labelling interface."""
_ALL = "tasks.json"


class LabelStudioWriter:
    """Writes tasks."""

    def __init__(self, style: Style) -> None:
        """Begin an export."""
        self._style = style
        self._tasks: list[dict[str, Any]] = []
        self._ignored = False

    def image(self, place: Place) -> str:
        """The photograph."""
        return f"images/{place.file}"

    def beside(self, place: Place) -> Sequence[str]:
        """Nothing."""
        return ()

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """The tasks and their interface."""
        return (_ALL, "config.xml")

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """Keep the task of an image."""
        self._ignored |= bool((picture.mask == IGNORE).any())
        results: list[dict[str, Any]] = []
        left = {value: picture.mask == value for value in values_in(picture.mask)}
        if (self._style.shapes or MASKS) != MASKS:
            height, width = picture.size
            for shape in self._style.shapes_of(picture):
                if shape.polygon is not None:
                    points = (shape.polygon * 100 / (width, height)).tolist()
                    drawn = {"points": points, "closed": True, "polygonlabels": [self._style.name(shape.value)]}
                    results.append(self._result(picture, len(results), _POLYGON, drawn))
                    x, y, right, bottom = shape.region.box
                    left[shape.value][y:bottom, x:right] &= ~shape.pixels
        for value, inside in left.items():
            if inside.any():
                brush = {"format": "rle", "rle": mask_to_brush(inside), "brushlabels": [self._style.name(value)]}
                results.append(self._result(picture, len(results), _BRUSH, brush))
        self._tasks.append(
            {
                "data": {"image": f"/data/local-files/?d={quote(self.image(picture.place))}"},
                "predictions": [{"model_version": "deft", "result": results}],
            }
        )
        return {}

    def finish(self) -> Mapping[str, bytes]:
        """The tasks and their interface."""
        names = [*self._style.classes, *([IGNORED] if self._ignored else [])]
        labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in names)
        controls = "".join(
            f'  <{tag} name="{name}" toName="image">\n{labels}  </{tag}>\n'
            for name, tag in ((_BRUSH, "BrushLabels"), (_POLYGON, "PolygonLabels"))
        )
        config = f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n{controls}</View>\n'
        return {_ALL: json.dumps(self._tasks).encode(), "config.xml": config.encode()}

    @staticmethod
    def _result(picture: Picture, number: int, control: str, value: Mapping[str, Any]) -> dict[str, Any]:
        height, width = picture.size
        return {
            "id": f"r{number:07d}",
            "type": f"{control}labels",
            "from_name": control,
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": dict(value),
        }


def read_label_studio_masks(path: Path, images: ImageFiles, classes: Sequence[str], faults: Faults) -> list[Found]:
    """Read an export: annotations; or predictions, if no task has an annotation.

    Args:
        path: the JSON file, or the folder that holds it and no other.
        images: those of the run.
        classes: not needed: the file names its classes.
        faults: collects faults.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    if len(files) != 1:
        came = " and ".join(file.name for file in files[:3]) or "none"
        faults.add(path, None, f"expected one JSON file of Label Studio, found {came}", "name the file")
        return []
    file = files[0]
    tasks = read_tasks(file, faults)
    if tasks is None:
        return []
    found = annotated_images(tasks, file, images, faults)
    if found.unlabelled == len(tasks):
        found = annotated_images(tasks, file, images, faults, predictions=True)
    fault_missing(found.missing, len(tasks), file, file.parent, faults)
    return [Found(each.image, file, each) for each in found.photographs]
