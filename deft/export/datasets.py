"""``datasets``: folders that Hugging Face's ``load_dataset("imagefolder", data_dir=OUT)`` reads; it is not imported.

```
OUT/train/images/NAME.jpg, validation/
OUT/train/masks/NAME.png                  grey PNG: 0 background, k class k, 255 ignore
OUT/train/metadata.jsonl                  file_name, mask_file_name, labels
OUT/classes.txt                           names of the classes, in the order of their values
```

The dataset has the columns ``image``, ``mask`` and ``labels``. Its images are decoded upright.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence

from PIL import Image

from deft.export.picture import TRAIN, VAL, Picture, Place, Style

_FOLDERS = {TRAIN: "train", VAL: "validation"}


class DatasetsWriter:
    """Writes an image folder."""

    def __init__(self, style: Style) -> None:
        """Begin an export; raises InputError if polygons were asked for."""
        style.refuse_polygons("an image folder")
        self._style = style
        self._rows: dict[str, list[str]] = {TRAIN: [], VAL: []}

    def image(self, place: Place) -> str:
        """The photograph."""
        return f"{_FOLDERS[place.part]}/images/{place.file}"

    def beside(self, place: Place) -> Sequence[str]:
        """The mask."""
        return (f"{_FOLDERS[place.part]}/masks/{place.stem}.png",)

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """The tables and the classes."""
        return (*(f"{_FOLDERS[part]}/metadata.jsonl" for part in sorted(parts)), "classes.txt")

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """The mask of an image."""
        place = picture.place
        row = {
            "file_name": f"images/{place.file}",
            "mask_file_name": f"masks/{place.stem}.png",
            "labels": list(picture.tags),
        }
        self._rows[place.part].append(json.dumps(row) + "\n")
        buffer = io.BytesIO()
        Image.fromarray(picture.mask).save(buffer, format="PNG")
        return {self.beside(place)[0]: buffer.getvalue()}

    def finish(self) -> Mapping[str, bytes]:
        """The tables and the classes."""
        tables = {
            f"{_FOLDERS[part]}/metadata.jsonl": "".join(rows).encode() for part, rows in self._rows.items() if rows
        }
        return tables | {"classes.txt": "".join(f"{name}\n" for name in self._style.classes).encode()}
