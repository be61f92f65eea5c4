"""``cvat``: CVAT for images 1.1. CVAT's "Segmentation mask 1.1" is what ``cvat-mask`` writes.

```
OUT/images/NAME.jpg
OUT/annotations.xml
```

A region is a polygon, and a mask if it has a hole: run lengths row by row within a box. CVAT shows photographs upright.
Areas to ignore have the label ``__ignore__``, which the task then needs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from deft.artifacts import palette
from deft.contracts import IGNORE
from deft.data.faults import Faults
from deft.data.files import ImageFiles
from deft.data.layouts.cvat import annotated_images, read_export
from deft.data.layouts.photographs import IGNORED
from deft.data.layouts.run_lengths import mask_to_counts
from deft.export.picture import Picture, Place, Style
from deft.export.shapes import Shape
from deft.export.take_in import Found

_FILE = "annotations.xml"


class CvatWriter:
    """Writes CVAT's XML."""

    def __init__(self, style: Style) -> None:
        """Begin an export."""
        self._style = style
        self._images: list[str] = []
        self._ignored = False

    def image(self, place: Place) -> str:
        """The photograph."""
        return f"images/{place.file}"

    def beside(self, place: Place) -> Sequence[str]:
        """Nothing."""
        return ()

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """The annotations."""
        return (_FILE,)

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """Keep the annotation of an image."""
        height, width = picture.size
        self._ignored |= bool((picture.mask == IGNORE).any())
        shapes = "".join(f"    {self._shape(shape)}\n" for shape in self._style.shapes_of(picture))
        name = quoteattr(picture.place.file)
        number = len(self._images)
        self._images.append(
            f'  <image id="{number}" name={name} width="{width}" height="{height}">\n{shapes}  </image>\n'
        )
        return {}

    def finish(self) -> Mapping[str, bytes]:
        """The annotations."""
        names = dict.fromkeys(self._style.classes) | (dict.fromkeys([IGNORED]) if self._ignored else {})
        colours = palette()
        labels = ""
        for value, name in enumerate(names, 1):
            red, green, blue = colours[IGNORE if name == IGNORED else value].tolist()
            colour = f"#{red:02x}{green:02x}{blue:02x}"
            labels += (
                f"        <label>\n          <name>{escape(name)}</name>\n          <color>{colour}</color>\n"
                "          <type>any</type>\n          <attributes>\n          </attributes>\n        </label>\n"
            )
        head = (
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
            f"      <size>{len(self._images)}</size>\n      <mode>annotation</mode>\n      <labels>\n{labels}"
            "      </labels>\n    </task>\n  </meta>\n"
        )
        return {_FILE: "".join([head, *self._images, "</annotations>\n"]).encode()}

    def _shape(self, shape: Shape) -> str:
        label = quoteattr(self._style.name(shape.value))
        common = f'label={label} source="auto" occluded="0"'
        if shape.polygon is not None:
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in shape.polygon.tolist())
            return f'<polygon {common} points="{points}" z_order="0"></polygon>'
        left, top, right, bottom = shape.region.box
        counts = ", ".join(map(str, mask_to_counts(shape.pixels, columns=False)))
        place = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
        return f'<mask {common} rle="{counts}" {place} z_order="0"></mask>'


def read_cvat_masks(path: Path, images: ImageFiles, classes: Sequence[str], faults: Faults) -> list[Found]:
    """Read an export for images.

    Args:
        path: the XML file, or the folder with ``annotations.xml``.
        images: those of the run.
        classes: not needed: the file names its labels.
        faults: collects faults.
    """
    file = path if path.is_file() else path / _FILE
    if not file.is_file():
        faults.add(file, None, "expected an export of CVAT for images, found none", "unpack it there, or name the file")
        return []
    export = read_export(file, faults)
    if export is None:
        return []
    photographs, _ = annotated_images(export, images, faults)
    return [Found(each.image, file, each) for each in photographs]
