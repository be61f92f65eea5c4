"""``yolo:PATH``: images and text files of normalised boxes or polygons, which Ultralytics' YOLO reads.

```
PATH/data.yaml                           path, train, val, and names as a list or {0: cat, 1: dog}
PATH/images/train/NAME.jpg, val/         or train/images/ and valid/images/, or wherever data.yaml says
PATH/labels/train/NAME.txt, val/         a line for each object: class x y width height, or class x1 y1 x2 y2 x3 y3 ...
```

Without a YAML file, names are the lines of ``classes.txt`` or ``obj.names``. Polygons are outlines; boxes are labels
alone. An image without a text file shows no object.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from deft.contracts import Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, image_files, named_images
from deft.data.layouts.name_lists import CLASSES, check_classes, read_names, read_text
from deft.data.layouts.outlined import OutlinedImages
from deft.data.layouts.outlines import Outline, Polygons
from deft.data.layouts.photographs import EMPTY, Photograph, Thing, outlined_images
from deft.data.layouts.values import class_of, is_nothing, number, short, whole_number
from deft.data.options import chosen_options
from deft.guards.opening import exists, is_folder

_YAML = (".yaml", ".yml")
_LARGEST = 1_000_000
"""Largest YAML file in bytes: a megabyte takes seconds to parse, and names of classes have kilobytes."""
_PLACES = {
    "train": ("images/train", "train/images", "images", "obj_train_data", "train"),
    "val": ("images/val", "valid/images", "val/images", "images/valid"),
}
"""Folders of images where no YAML file names them."""
_MARGIN = 0.01
"""How far outside the image a corner may be; more means pixels instead of shares of the width and height."""


@dataclass(frozen=True)
class Settings:
    """What the YAML file, or the list of names, says."""

    source: Path
    root: Path
    names: dict[int, str]
    train: Any
    val: Any
    keypoints: bool
    """Lines are a box and key points."""
    masks: str = ""
    """Folder of masks for semantic segmentation, beside ``images``; empty if there is none."""


def read_yolo(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read the text files; no image is decoded.

    Args:
        path: the folder, or its YAML file.
        options: the text after ``?``: ``empty=drop``.
        faults: collects the faults of the files.
    """
    drop = chosen_options(options, EMPTY, "yolo").get("empty") == "drop"
    settings = read_settings(path, faults)
    if settings is None:
        return None
    classes = tuple(dict.fromkeys(settings.names[index] for index in sorted(settings.names)))
    check_classes(classes, None, settings.source, faults)
    train = _split(settings, "train", classes, drop, faults)
    if train is None:
        return None
    val = None if is_nothing(settings.val) else _split(settings, "val", classes, drop, faults)
    return Splits(train, val)


def read_settings(path: Path, faults: Faults) -> Settings | None:
    """What the YAML file of a folder, or the file itself, says; None and a fault if there is none."""
    if not path.is_dir():
        return _from_yaml(path, faults)
    files = sorted(each for each in path.iterdir() if each.suffix.lower() in _YAML)
    usual = [each for each in files if each.stem in ("data", "dataset")]
    if len(usual or files) > 1:
        found = " and ".join(each.name for each in (usual or files)[:4])
        faults.add(path, None, f"expected one YAML file, found {found}", f"open one: yolo:{(usual or files)[0]}")
        return None
    if files:
        return _from_yaml((usual or files)[0], faults)
    listed = next((path / name for name in ("classes.txt", "obj.names") if exists(path / name)), None)
    if listed is None:
        what = "expected data.yaml with the names of the classes, or classes.txt, found neither"
        faults.add(path, None, what, "add the one that was exported with the images")
        return None
    names = {index: class_of(name) or "" for index, (_, name) in enumerate(read_names(listed, faults, most=CLASSES))}
    if not names:
        return None
    train, val = (next((name for name in places if is_folder(path / name)), None) for places in _PLACES.values())
    return Settings(listed, path, names, train or _PLACES["train"][0], val, keypoints=False)


def _from_yaml(file: Path, faults: Faults) -> Settings | None:
    text = read_text(file, faults, most=_LARGEST)
    if text is None:
        return None
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        faults.add(file, mark.line + 1 if mark else None, "not valid YAML", "correct it at that line")
        return None
    listed = content.get("names") if isinstance(content, dict) else None
    pairs = dict(enumerate(listed)) if isinstance(listed, list) else listed
    if not isinstance(content, dict) or not isinstance(pairs, dict) or not pairs:
        faults.add(file, None, f"expected names of the classes, got {short(listed)}", "write names: [cat, dog]")
        return None
    names: dict[int, str] = {}
    before = len(faults.errors)
    for key, value in pairs.items():
        index, name = whole_number(key), class_of(value)
        if index is None or index < 0 or name is None:
            what = f"expected a number and a name of a class, got {short(key)}: {short(value)}"
            faults.add(file, None, what, 'write names as text, in quotes if they are words such as "no"')
        else:
            names[index] = name
    if len(faults.errors) > before:
        return None
    said = content.get("path")
    root = file.parent / said if isinstance(said, str) and os.path.isdir(file.parent / said) else file.parent
    val = next((content[key] for key in ("val", "valid", "validation") if not is_nothing(content.get(key))), None)
    masks = content.get("masks_dir")
    folder = masks if isinstance(masks, str) else ""
    return Settings(file, root, names, content.get("train"), val, "kpt_shape" in content, folder)


def yaml_text(content: dict[str, Any]) -> bytes:
    """A YAML file with these entries, in their order."""
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True)).encode()


def _split(
    settings: Settings, part: str, classes: tuple[str, ...], drop: bool, faults: Faults
) -> OutlinedImages | None:
    images = _images(settings, part, faults)
    if images is None:
        return None
    photographs, sources, without = [], [], 0
    for index, path in enumerate(images.paths):
        file = _text_file(path)
        if file is None:
            without += 1
            photographs.append(Photograph(index, []))
        else:
            sources.append(file)
            photographs.append(Photograph(index, read_things(file, settings, faults)))
    if without == len(images.paths):
        what = f"expected a text file for each image, found none, e.g. for {images.paths[0].name!r}"
        faults.add(images.root, None, what, "put them into labels/, next to images/, with the same folders inside")
        return None
    return outlined_images("yolo", images, photographs, classes, [settings.source, *sources], faults, drop=drop)


def _images(settings: Settings, part: str, faults: Faults) -> ImageFiles | None:
    """The files of one split: of a folder, of several, or of a list of paths."""
    said = settings.train if part == "train" else settings.val
    entries = said if isinstance(said, list) else [said]
    folders: list[Path] = []
    listed: list[Path] = []
    for entry in entries:
        place = _existing(entry, settings) if isinstance(entry, str) else None
        if place is None:
            what = f"expected a folder or list of images as {part}, {short(entry)} is not there"
            faults.add(settings.source, None, what, "correct the path, or put the images there")
            return None
        if place.is_dir():
            if _is_above_home(place):
                what = f"expected a folder of images as {part}, got {short(entry)}, in which there is far more"
                faults.add(settings.source, None, what, "name the folder that has only this dataset's images")
                return None
            folders.append(place)
            continue
        for line, text in read_names(place, faults):
            image = next((each for each in (place.parent / text, settings.root / text) if os.path.isfile(each)), None)
            if image is None:
                faults.add(place, line, f"image {text!r} is not there", "correct the path, or add the image")
            else:
                listed.append(Path(os.path.abspath(image)))
    folders = [Path(os.path.abspath(each)) for each in folders]
    roots = [*folders, *(each.parent for each in listed)]
    if not roots:
        return None
    # Only these folders are looked through: the one that contains all of them may be the whole disk.
    found = {image for folder in folders for image in image_files(folder, faults=faults).paths} | set(listed)
    images = named_images(Path(os.path.commonpath(roots)), found)
    if not images.paths:
        faults.add(images.root, None, f"expected images for {part}, found none", "put them there")
        return None
    return images


def _is_above_home(place: Path) -> bool:
    """Whether a folder contains everybody's files, as ``/`` and ``/home`` do: an export may name any."""
    place = place.resolve()
    return place == Path(place.anchor) or place in Path(os.path.expanduser("~")).parents


def _existing(entry: str, settings: Settings) -> Path | None:
    """A path of the YAML file, also where its folders were moved together, or it begins with ``../`` too many."""
    parts = [each for each in entry.replace("\\", "/").split("/") if each not in ("", ".", "..")]
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    beside = settings.source.parent
    candidates = [settings.root / entry, beside / entry, *(beside / end for end in ends)]
    # These functions are false for text that cannot be a path, for which those of Path raise an error.
    return next((each for each in candidates if os.path.isdir(each) or _is_list(each)), None)


def _is_list(path: Path) -> bool:
    return path.suffix == ".txt" and os.path.isfile(path)


def _text_file(image: Path) -> Path | None:
    """The annotation of an image: in ``labels`` instead of ``images``, else next to it."""
    parts = list(image.with_suffix(".txt").parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    found = (Path(*parts), image.with_suffix(".txt"))
    return next((each for each in found if exists(each)), None)


def read_things(file: Path, settings: Settings, faults: Faults) -> list[Thing]:
    """The objects in the text file of an image."""
    text = read_text(file, faults)
    things = []
    for line, row in enumerate((text or "").splitlines(), 1):
        words = row.split()
        if not words:
            continue
        index = whole_number(words[0])
        if index is None or index not in settings.names:
            what = f"expected a class from 0 to {max(settings.names, default=0)}, got {short(words[0])}"
            faults.add(file, line, what, f"correct it, or name the class in {settings.source.name}")
            continue
        try:
            things.append(Thing(settings.names[index], _outline(words[1:], settings.keypoints)))
        except ValueError as error:
            faults.add(file, line, str(error), "export it again, or correct the line")
    return things


def _outline(words: Sequence[str], keypoints: bool) -> Outline | None:
    """The polygon of a line; None if it is a box, with or without a confidence."""
    numbers = [found for word in words if (found := number(word)) is not None]
    if len(numbers) < len(words):
        raise ValueError("expected numbers that are finite")
    if len(numbers) in (4, 5) or (keypoints and len(numbers) > 5):
        return None
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"expected a box of 4 numbers or a polygon of pairs of numbers, got {len(numbers)}")
    ring = np.array(numbers).reshape(-1, 2)
    if ring.min() < -_MARGIN or ring.max() > 1 + _MARGIN:
        raise ValueError(
            f"expected coordinates from 0 to 1, shares of the width and height, got {ring.min():g} to {ring.max():g}"
        )
    return Polygons((ring,), relative=True)
