"""``voc`` (also ``png``) and ``cvat-mask``: palette PNGs in the folders of PASCAL VOC.

::

    OUT/JPEGImages/NAME.jpg
    OUT/SegmentationClass/NAME.png                    0 background, k class k, 255 ignore; coloured by VOC's palette
    OUT/ImageSets/Segmentation/train.txt, val.txt     cvat-mask: default.txt
    OUT/classes.txt, image_labels.csv                 names of the classes; tags, for ``voc:OUT``
    OUT/labelmap.txt                                  name and colour of each value, for CVAT's "Segmentation mask 1.1"

CVAT takes a zip file of the folders of ``cvat-mask``, and gives one back in which masks are coloured by
``labelmap.txt``. Areas to ignore have the label ``__ignore__`` there, which the task then needs.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import mask_png, palette
from deft.contracts import BACKGROUND, IGNORE, InputError
from deft.data.faults import Faults
from deft.data.files import ImageFiles, files_below, relative
from deft.data.images import read_image, read_mask
from deft.data.layouts.name_lists import class_name, read_classes, read_names
from deft.data.layouts.photographs import IGNORED, ExportedNames
from deft.export.picture import TRAIN, VAL, Picture, Place, Style
from deft.export.take_in import Found
from deft.guards.pictures import read_png

MASKS, LISTS = "SegmentationClass", "ImageSets/Segmentation"
_LABELMAP = "labelmap.txt"
_COLOUR = re.compile(r"(.+):\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*(?::[^:]*){0,2}")
_COLOURS = tuple((int(red), int(green), int(blue)) for red, green, blue in palette())


class VocWriter:
    """Writes VOC's folders."""

    def __init__(self, style: Style, *, subsets: bool = True) -> None:
        """Begin an export.

        Args:
            style: with the names of the classes.
            subsets: list the images of each part, else all of them in ``default.txt``, as CVAT's tasks have them.

        Raises:
            InputError: polygons were asked for.
        """
        style.refuse_polygons("VOC's layout")
        self._subsets = subsets
        self._style = style
        self._names: dict[str, list[str]] = {TRAIN: [], VAL: []}
        self._rows: list[tuple[str, str]] = []
        self._ignored = False

    def image(self, place: Place) -> str:
        """The photograph."""
        return f"JPEGImages/{place.file}"

    def beside(self, place: Place) -> Sequence[str]:
        """The mask."""
        return (f"{MASKS}/{place.stem}.png",)

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """Lists of names, classes and colours."""
        return (*self._lists(parts), "classes.txt", "image_labels.csv", _LABELMAP)

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """The mask of an image."""
        self._names[picture.place.part].append(picture.place.stem)
        self._rows.append((picture.place.stem, ";".join(picture.tags)))
        self._ignored |= bool((picture.mask == IGNORE).any())
        return {f"{MASKS}/{picture.place.stem}.png": mask_png(picture.mask)}

    def finish(self) -> Mapping[str, bytes]:
        """Lists of names, classes and colours."""
        classes = self._style.classes
        labels = {"background": BACKGROUND} | {name: k for k, name in enumerate(classes, 1)}
        labels |= {IGNORED: IGNORE} if self._ignored else {}
        colours = [f"{name}:{','.join(map(str, _COLOURS[value]))}::" for name, value in labels.items()]
        table = io.StringIO(newline="")
        csv.writer(table, lineterminator="\n").writerows([("image", "labels"), *self._rows])
        lists = self._lists({part for part, names in self._names.items() if names})
        return {name: _lines(names) for name, names in lists.items()} | {
            "classes.txt": _lines(classes),
            "image_labels.csv": table.getvalue().encode(),
            _LABELMAP: _lines(["# label:color_rgb:parts:actions", *colours]),
        }

    def _lists(self, parts: Collection[str]) -> dict[str, list[str]]:
        if not self._subsets:
            return {f"{LISTS}/default.txt": [*self._names[TRAIN], *self._names[VAL]]}
        return {f"{LISTS}/{part}.txt": self._names[part] for part in sorted(parts)}


def _lines(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")


def read_png_masks(path: Path, images: ImageFiles, classes: Sequence[str], faults: Faults) -> list[Found]:
    """Find the masks in a folder: in ``SegmentationClass`` if there is one, else any PNG named after an image.

    Args:
        path: the folder, or a single PNG.
        images: those of the run.
        classes: names of the run's K classes, which the values have unless the folder says otherwise.
        faults: collects faults.
    """
    root = path if path.is_dir() else path.parent
    folder = root / MASKS if path.is_dir() and (root / MASKS).is_dir() else root
    files = [path] if path.is_file() else sorted(each for each in files_below(folder) if each.suffix.lower() == ".png")
    colours = _labelmap(root / _LABELMAP, faults) if (root / _LABELMAP).is_file() else None
    listed = read_classes(root / "classes.txt", faults) if (root / "classes.txt").is_file() else tuple(classes)
    names = ExportedNames.of(images)
    found: list[Found] = []
    missing = []
    for file in files:
        name = relative(file, folder)
        index = names.find(name[:-4])
        if index is None:
            missing.append(name)
        else:
            found.append(Found(index, file, values=_Values(file, colours, listed)))
    if not files:
        faults.add(folder, None, "expected masks as PNG files named after images, found none", "put them there")
    if missing and not found:
        what = f"none of the {len(missing)} masks is named after an image of the run, e.g. {missing[0]!r}"
        faults.add(folder, None, what, "name each mask like its image")
    elif missing:
        faults.warn(folder, None, f"{len(missing)} masks are of no image of the run, e.g. {missing[0]!r}", "left out")
    return found


class _Values:
    """Reads a mask when it is needed: names of its values, and where each is."""

    def __init__(self, file: Path, colours: Mapping[tuple[int, int, int], str] | None, classes: Sequence[str]) -> None:
        self._file, self._colours, self._classes = file, colours, classes

    def __call__(self) -> tuple[NDArray[np.uint8], dict[int, str]]:
        """The values (H, W), and the name of each."""
        mode = read_png(self._file, decode=False).mode
        if self._colours is not None and mode in ("P", "RGB", "RGBA"):
            return self._by_colour(self._colours)
        if mode in ("RGB", "RGBA"):
            raise InputError(
                f"{self._file}: expected a mask of class numbers, or labelmap.txt with the name of each colour, got "
                "colours alone; export it with its labelmap.txt"
            )
        values = read_mask(self._file)
        names = dict(enumerate(self._classes, 1))
        wrong = [int(value) for value in np.unique(values) if value not in (BACKGROUND, IGNORE) and value not in names]
        if wrong:
            raise InputError(
                f"{self._file}: expected values from 0 to {len(names)}, or 255, got {wrong[0]}; name its classes in "
                "classes.txt beside the masks, one a line"
            )
        return values, {BACKGROUND: "background", IGNORE: IGNORED} | names

    def _by_colour(self, colours: Mapping[tuple[int, int, int], str]) -> tuple[NDArray[np.uint8], dict[int, str]]:
        pixels = read_image(self._file).astype(np.int64)
        packed = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
        known = {(red << 16) | (green << 8) | blue: name for (red, green, blue), name in colours.items()}
        there, where = np.unique(packed, return_inverse=True)
        strangers = [int(colour) for colour in there if int(colour) not in known]
        if strangers:
            colour = ",".join(str((strangers[0] >> shift) & 255) for shift in (16, 8, 0))
            raise InputError(f"{self._file}: the colour {colour} is not in {_LABELMAP}; add it there with its name")
        return where.reshape(packed.shape).astype(np.uint8), {
            place: known[int(colour)] for place, colour in enumerate(there)
        }


def _labelmap(file: Path, faults: Faults) -> dict[tuple[int, int, int], str]:
    """Name of each colour in CVAT's list, whose lines are ``name:red,green,blue:parts:actions``."""
    found: dict[tuple[int, int, int], str] = {}
    for line, text in read_names(file, faults):
        if text.startswith("#") and _COLOUR.fullmatch(text) is None:
            continue
        match = _COLOUR.fullmatch(text)
        numbers = [int(each) for each in match.groups()[1:]] if match else []
        if match is None or max(numbers) > 255:
            faults.add(file, line, f"expected name:red,green,blue::, got {text[:60]!r}", "correct the line")
            continue
        name, (red, green, blue) = match[1], numbers
        if (other := found.setdefault((red, green, blue), class_name(name))) != class_name(name):
            faults.add(file, line, f"{name!r} has the colour of {other!r}", "give each label a colour of its own")
    return found
