"""``labelstudio:PATH``: an export of Label Studio as JSON, with its images.

```
PATH/NAME.json                        the only JSON file there, or labelstudio:PATH/NAME.json
PATH/images/                          the images, with any folders inside; PATH itself if there is no images/
PATH/classes.txt, val.txt             optional: order of the classes; names of the images to hold out
```

Polygons, ellipses and brushes are outlines; rectangles and key points are labels alone, as are choices, which are tags
of the whole image. Tasks without an annotation are left out. Of several annotations of a task, the one marked as ground
truth is read, else the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from deft.contracts import Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, image_files
from deft.data.layouts.json_files import read_json
from deft.data.layouts.name_lists import read_classes
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
from deft.data.layouts.run_lengths import brush_to_mask, checked_counts, mask_to_counts
from deft.data.layouts.values import class_of, identifier, number, short, whole_number
from deft.data.options import chosen_options
from deft.guards.opening import exists, is_folder
from deft.guards.pictures import MAX_PIXELS

SHAPES = ("rectangle", "polygon", "ellipse", "brush", "bitmask", "keypoint", "vector")
"""Kinds of regions; with labels their fields and types are ``rectanglelabels`` and so on."""
_TAGS = ("choices", "taxonomy")
_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")
"""Uploaded files get eight random digits before their name."""
_IMAGE = re.compile(r"\.(jpe?g|jfif|png|gif|bmp|tiff?|webp|ppm|pgm)$", re.IGNORECASE)


def read_label_studio(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read the export; no image is decoded.

    Args:
        path: the folder, or the JSON file in it.
        options: the text after ``?``: ``empty=drop``.
        faults: collects the faults of the file.
    """
    chosen = chosen_options(options, EMPTY, "labelstudio")
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if len(files) != 1:
        found = " and ".join(each.name for each in files[:3]) or "none"
        what = f"expected one JSON file that Label Studio exported, found {found}"
        faults.add(path, None, what, "put it there, or open one as labelstudio:FILE.json")
        return None
    file, folder = files[0], files[0].parent
    tasks = read_tasks(file, faults)
    if tasks is None:
        return None
    images = image_files(folder / "images" if is_folder(folder / "images") else folder, faults=faults)
    read = annotated_images(tasks, file, images, faults)
    fault_missing(read.missing, len(tasks), file, images.root, faults)
    unlabelled, photographs = read.unlabelled, read.photographs
    if unlabelled:
        what = f"{unlabelled} of {len(tasks)} tasks have no annotation"
        faults.warn(file, None, what, "they are left out; annotate them to use them")
    if read.several:
        what = f"{read.several} of {len(tasks)} tasks have several annotations"
        faults.warn(file, None, what, "the ground truth, else the last one is read")
    if not unlabelled:
        left_out(images, photographs, "are of no task", faults)
    listed = folder / "classes.txt"
    order = read_classes(listed, faults) if exists(listed) else ()
    classes = classes_in_order(photographs, order, listed if order else file, faults)
    if not classes and not faults.errors:
        faults.add(file, None, "expected labels, found none", "annotate some tasks")
        return None
    val = held_out(folder / "val.txt", images, faults)
    drop = chosen.get("empty") == "drop"
    return outlined_splits("labelstudio", images, photographs, classes, [file], val, faults, drop=drop)


def read_tasks(file: Path, faults: Faults) -> list[Any] | None:
    """The tasks in a file; None and a fault if it holds none."""
    before = len(faults.errors)
    content = read_json(file, faults)
    if len(faults.errors) > before:
        return None
    tasks = content if isinstance(content, list) else [content]
    if not tasks or not all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in tasks):
        what = f"expected a list of tasks with their data, got {short(content)}"
        faults.add(file, 1, what, "export the project again as JSON, not as JSON-MIN")
        return None
    return tasks


class Annotated(NamedTuple):
    """What tasks hold."""

    photographs: list[Photograph]
    missing: list[str]
    """Paths of images that are not there."""
    unlabelled: int
    """Tasks without an annotation."""
    several: int
    """Tasks with several annotations."""


def annotated_images(
    tasks: Sequence[Any], file: Path, images: ImageFiles, faults: Faults, *, predictions: bool = False
) -> Annotated:
    """The annotations of tasks whose images are there.

    Args:
        tasks: from :func:`read_tasks`.
        file: that they were read from, for messages.
        images: those that may be annotated.
        faults: collects the faults of the tasks.
        predictions: read these instead of annotations.
    """
    names = ExportedNames.of(images)
    found: dict[int, Photograph] = {}
    missing: list[str] = []
    unlabelled = several = 0
    for place, task in enumerate(tasks):
        said = _image_of(task)
        label = f"task {identifier(task.get('id')) or f'at position {place}'}"
        index = None if said is None else _find(said, task, names)
        results, count = _results(task, ("predictions",) if predictions else ("annotations", "completions"))
        several += count > 1
        if results is None:
            unlabelled += 1
        elif said is None:
            faults.add(file, None, f"{label} has no image in its data", "export the tasks of images alone")
        elif index is None:
            missing.append(said)
        elif index in found:
            faults.add(
                file, None, f"{label} has the image of another task, {images.names[index]!r}", "keep one of them"
            )
        else:
            found[index] = Photograph(index, *_things(results, label, file, faults))
    return Annotated(list(found.values()), missing, unlabelled, several)


def _image_of(task: Mapping[str, Any]) -> str | None:
    """The path or address of the task's image: the only value of its data that is one."""
    data = task["data"]
    for key in ("image", "img", "ocr", "url", "photo", "picture"):
        if isinstance(data.get(key), str) and data[key].strip():
            return str(data[key])
    texts = [value for value in data.values() if isinstance(value, str)]
    return next((text for text in texts if _IMAGE.search(_path_of(text))), None)


def _path_of(address: str) -> str:
    """The path in an address: of a file (``/data/local-files/?d=PATH``), an upload, or an object store."""
    try:
        parts = urlsplit(address)
        given = parse_qs(parts.query).get("d")
        return given[0] if given else unquote(parts.path if parts.scheme or parts.query else address)
    except ValueError:
        return address


def _find(said: str, task: Mapping[str, Any], names: ExportedNames) -> int | None:
    """The image of a task, by its address, its upload, or the name it had before it was uploaded."""
    upload = task.get("file_upload")
    for name in (_path_of(said), upload if isinstance(upload, str) else ""):
        last = name.replace("\\", "/").rpartition("/")[2]
        original = _UPLOAD.fullmatch(last)
        for each in (name, original[1] if original else ""):
            if each and (index := names.find(each)) is not None:
                return index
    return None


def _results(task: Mapping[str, Any], keys: Sequence[str]) -> tuple[list[Any] | None, int]:
    """Results of the annotation that is read, or None, and the number of annotations of the task."""
    listed = next((task[key] for key in keys if key in task), None)
    done = [
        each
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and not each.get("was_cancelled") and isinstance(each.get("result"), list)
    ]
    if not done:
        return None, 0
    truth = [each for each in done if each.get("ground_truth")]
    return (truth or done)[-1]["result"], len(done)


def _things(
    results: Sequence[Any], label: str, file: Path, faults: Faults
) -> tuple[list[Thing], tuple[int, int] | None]:
    """Objects and tags of a task, and the size of its image."""
    entries = [(each, each["value"]) for each in results if isinstance(each, dict) and _is_value(each.get("value"))]
    apart: dict[str, list[Any]] = {}
    """Labels of regions that have them in a result of their own, by the id of the region."""
    for each, value in entries:
        if each.get("type") == "labels" and (key := identifier(each.get("id"))):
            apart.setdefault(key, []).extend(_list(value.get("labels")))
    things: list[Thing] = []
    size = None
    for each, value in entries:
        kind = str(each.get("type", ""))
        shape = kind.removesuffix("labels")
        height, width = whole_number(each.get("original_height")), whole_number(each.get("original_width"))
        own = None if height is None or width is None or min(height, width) < 1 else (height, width)
        size = size or own
        if kind in _TAGS and not value.keys() & {"x", "points", "rle"}:  # else they describe a region
            given = _list(value.get(kind))
            names = [path[-1] if isinstance(path, list) and path else path for path in given]
        elif shape in SHAPES:
            names = _list(value.get(kind)) or apart.get(identifier(each.get("id")) or "", [])
        else:
            continue
        known = [name for name in map(class_of, names) if name is not None]
        if len(known) < len(names) or (shape in SHAPES and not known):
            faults.add(file, None, f"{label}: a {kind} has the label {short(names)}", "label or remove it")
            continue
        try:
            outline = _outline(shape, value, own) if shape in SHAPES else None
        except ValueError as error:
            faults.add(file, None, f"{label}: {kind} of {known[0]!r}: {error}", "correct or remove it")
            continue
        things += [Thing(name, outline, name == IGNORED, tag=shape not in SHAPES) for name in known]
    return things, size


def _is_value(value: Any) -> bool:
    return isinstance(value, dict)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _outline(shape: str, value: Mapping[str, Any], size: tuple[int, int] | None) -> Outline | None:
    """The outline of a region, whose coordinates are per cent of the image; None if it is a label alone."""
    if shape == "polygon":
        return Polygons((read_ring(value.get("points")) / 100,), relative=True)
    if shape == "ellipse":
        given = [number(value.get(name)) for name in ("x", "y", "radiusX", "radiusY")]
        x, y, across, down = (each for each in given if each is not None) if None not in given else (None,) * 4
        if x is None or y is None or across is None or down is None:
            raise ValueError(f"expected x, y, radiusX and radiusY, got {short(given)}")
        height, width = size or (1, 1)
        # The rotation is one of the image, which is not square.
        turned = ellipse(0, 0, across * width, down * height, number(value.get("rotation")) or 0.0)
        return Polygons(((turned / (width, height) + (x, y)) / 100,), relative=True)
    if shape != "brush" or "rle" not in value:
        return None
    if size is None or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"expected original_width and original_height of the image, got {short(size)}")
    mask = brush_to_mask(value["rle"], size)
    return Runs(checked_counts(mask_to_counts(mask, columns=False), size), size, columns=False)
