"""``yolo``: polygons of Ultralytics' YOLO segmentation; ``yolo-semantic``: its masks for semantic segmentation.

```
OUT/data.yaml                             train, val, names; paths are relative to the file
OUT/images/train/NAME.jpg, val/
OUT/labels/train/NAME.txt                 yolo: a line for each region: class x1 y1 x2 y2 ..., as shares of the sides
OUT/masks/train/NAME.png                  yolo-semantic: grey PNG, value of each pixel; masks_dir: masks in data.yaml
```

YOLO's polygons have neither holes nor areas to ignore. A region with a hole is one polygon with a cut to the hole, and
areas to ignore are left out; when such files are imported, those of the run's own mask stay.

In the semantic layout, which ultralytics reads since 8.4.52, background is the first class, named ``background``, and
255 is ignored.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.contracts import BACKGROUND, IGNORE, InputError
from deft.data.faults import Faults
from deft.data.files import ImageFiles, files_below, relative
from deft.data.images import read_mask
from deft.data.layouts.photographs import IGNORED, ExportedNames, Photograph, fault_missing
from deft.data.layouts.yolo import read_settings, read_things, yaml_text
from deft.export.picture import POLYGONS, TRAIN, VAL, Picture, Place, Style
from deft.export.take_in import Found

GROUND = "background"


class YoloWriter:
    """Writes polygons as text files."""

    def __init__(self, style: Style) -> None:
        """Begin an export.

        Raises:
            InputError: masks were asked for.
        """
        if style.shapes not in ("", POLYGONS):
            raise InputError("--shapes masks: YOLO's text files hold polygons alone; choose --format yolo-semantic")
        self._style = style
        self._parts: set[str] = set()

    def image(self, place: Place) -> str:
        """The photograph."""
        return f"images/{place.part}/{place.file}"

    def beside(self, place: Place) -> Sequence[str]:
        """The text file."""
        return (_beside(self.image(place), "labels", ".txt"),)

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """The list of classes and folders."""
        return ("data.yaml",)

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """The regions of an image."""
        self._parts.add(picture.place.part)
        height, width = picture.size
        lines = []
        for shape in self._style.shapes_of(picture, cut=True):
            if shape.value != IGNORE and shape.polygon is not None:
                shares = (shape.polygon / (width, height)).ravel().tolist()
                lines.append(" ".join([str(shape.value - 1), *(f"{share:.7g}" for share in shares)]) + "\n")
        return {self.beside(picture.place)[0]: "".join(lines).encode()}

    def finish(self) -> Mapping[str, bytes]:
        """The list of classes and folders."""
        return {"data.yaml": _yaml(self._parts, self._style.classes, {})}


class YoloSemanticWriter:
    """Writes masks as grey PNGs."""

    def __init__(self, style: Style) -> None:
        """Begin an export; raises InputError if polygons were asked for."""
        style.refuse_polygons("the semantic layout")
        self._style = style
        self._parts: set[str] = set()

    def image(self, place: Place) -> str:
        """The photograph."""
        return f"images/{place.part}/{place.file}"

    def beside(self, place: Place) -> Sequence[str]:
        """The mask."""
        return (_beside(self.image(place), "masks", ".png"),)

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """The list of classes and folders."""
        return ("data.yaml",)

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """The mask of an image."""
        self._parts.add(picture.place.part)
        buffer = io.BytesIO()
        Image.fromarray(picture.mask).save(buffer, format="PNG")
        return {self.beside(picture.place)[0]: buffer.getvalue()}

    def finish(self) -> Mapping[str, bytes]:
        """The list of classes and folders."""
        return {"data.yaml": _yaml(self._parts, (GROUND, *self._style.classes), {"masks_dir": "masks"})}


def _yaml(parts: Collection[str], names: Sequence[str], more: Mapping[str, Any]) -> bytes:
    """Ultralytics needs both parts: where there is one, it is both."""
    train = TRAIN if TRAIN in parts else VAL
    val = VAL if VAL in parts else TRAIN
    content = {"train": f"images/{train}", "val": f"images/{val}", **more, "names": dict(enumerate(names))}
    return yaml_text(content)


def read_yolo_polygons(path: Path, images: ImageFiles, classes: Sequence[str], faults: Faults) -> list[Found]:
    """Read the text files of a folder with ``data.yaml``, or with the file itself given.

    Args:
        path: the folder, or its YAML file.
        images: those of the run.
        classes: not needed: the YAML file names its classes.
        faults: collects faults.
    """
    settings = read_settings(path, faults)
    if settings is None:
        return []
    root = path if path.is_dir() else path.parent
    folder = root / "labels" if (root / "labels").is_dir() else root
    files = [
        file
        for file in sorted(files_below(folder))
        if file.suffix.lower() == ".txt"
        and (folder != root or file.name not in ("classes.txt", "train.txt", "val.txt"))
    ]
    files = sorted({*files, *_expected(root, "labels", ".txt", images)})
    if not files:
        faults.add(folder, None, "expected a text file for each image, found none", "put them into labels/")
    found = _named(files, root, "labels", images, faults)
    return [
        Found(index, file, Photograph(index, read_things(file, settings, faults)), keeps_ignored=True)
        for index, file in found
    ]


def read_yolo_masks(path: Path, images: ImageFiles, classes: Sequence[str], faults: Faults) -> list[Found]:
    """Read the masks of a folder with ``data.yaml``; arguments as for :func:`read_yolo_polygons`."""
    settings = read_settings(path, faults)
    if settings is None:
        return []
    root, name = path if path.is_dir() else path.parent, settings.masks or "masks"
    folder = root / name
    below = files_below(folder) if folder.is_dir() else []
    expected = _expected(root, name, ".png", images)
    files = sorted({*expected, *(file for file in below if file.suffix.lower() == ".png")})
    if not files:
        faults.add(folder, None, "expected masks as PNG files, found none", "put them there, in folders as images/ has")
    return [
        Found(index, file, values=_Values(file, settings.names))
        for index, file in _named(files, root, name, images, faults)
    ]


class _Values:
    """Reads a mask when it is needed."""

    def __init__(self, file: Path, names: Mapping[int, str]) -> None:
        self._file, self._names = file, {IGNORE: IGNORED} | dict(names)

    def __call__(self) -> tuple[NDArray[np.uint8], Mapping[int, str]]:
        """The values (H, W), and the name of each."""
        values = read_mask(self._file)
        wrong = [int(value) for value in np.unique(values) if int(value) not in self._names]
        if wrong and wrong != [BACKGROUND]:
            raise InputError(f"{self._file}: the value {wrong[-1]} has no name in data.yaml; name it there")
        return values, {BACKGROUND: GROUND} | self._names


def _beside(image: str, folder: str, suffix: str) -> str:
    """Where ultralytics looks for what belongs to an image: in ``folder`` instead of the last ``images``."""
    before, _, after = f"/{image}".rpartition("/images/")
    return f"{before}/{folder}/{after.rpartition('.')[0]}{suffix}".removeprefix("/")


def _expected(root: Path, folder: str, suffix: str, images: ImageFiles) -> dict[Path, int]:
    """The files that an export would have for images of the run, as far as they are there."""
    places = {
        root / _beside(f"images/{part}/{relative(path, images.root)}", folder, suffix): index
        for part in (VAL, TRAIN)
        for index, path in enumerate(images.paths)
    }
    return {path: index for path, index in places.items() if path.is_file()}


def _named(
    files: Sequence[Path], root: Path, folder: str, images: ImageFiles, faults: Faults
) -> list[tuple[int, Path]]:
    """Files with the index of their image: where an export has it, else by name, below ``train`` and ``val`` too."""
    names = ExportedNames.of(images)
    expected = _expected(root, folder, files[0].suffix, images) if files else {}
    found: list[tuple[int, Path]] = []
    missing = []
    seen: dict[int, Path] = {}
    for file in files:
        name = relative(file, root).removeprefix(f"{folder}/").rpartition(".")[0]
        first, _, rest = name.partition("/")
        index = expected.get(file)
        if index is None and rest and first in ("train", "val", "valid", "test") and len(images.find(rest)) == 1:
            index = images.find(rest)[0]
        if index is None:
            index = names.find(name)
        if index is None:
            missing.append(name)
        elif seen.setdefault(index, file) != file:
            what = f"{relative(seen[index], root)} is of the same image, {images.names[index]!r}"
            faults.add(file, None, what, "keep one of the two")
        else:
            found.append((index, file))
    fault_missing(missing, len(files), root, root, faults)
    return found
