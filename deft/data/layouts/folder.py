"""``folder:PATH``: a folder of images with a table of tags, or one folder for each tag.

```
PATH/images/        any names, any folders inside; PATH itself if there is no images/
PATH/labels.csv     header image,labels; labels separated by ';' or spaces      } one of these; with neither, the
PATH/labels.json    {"image": ["label", ...]}                                   } folders in images/ are the tags
PATH/masks/         optional: PNGs named like the images
PATH/classes.txt    optional: names and order of the classes; else the tags, sorted
PATH/val.txt        optional: names of the images held out for validation
```

With one folder for each tag, an image with several tags is in several folders: files with the same name *and* the same
content are one image with all these tags; files with the same name and different content are different images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deft.contracts import Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, files_below, image_files, relative
from deft.data.labels import Row, label_matrix, read_label_csv, read_label_json, rows_by_image
from deft.data.layouts.file_dataset import FileDataset
from deft.data.layouts.name_lists import check_classes, class_name, read_classes, read_names

_LAYOUT = "put the images into images/ next to labels.csv (header image,labels), or into one folder for each tag"


def read_folder(path: Path, faults: Faults) -> Splits | None:
    """Read names and labels of a folder; no image is decoded.

    Args:
        path: an existing folder.
        faults: collects all faults; the result is complete only if there are no errors.

    Returns:
        The splits, or None if there is nothing to read.
    """
    root = path / "images" if (path / "images").is_dir() else path
    images = image_files(root, skip=frozenset() if root != path else frozenset({"masks"}))
    if not images.paths:
        faults.add(root, None, "expected images, found none", _LAYOUT)
        return None
    classes_file = path / "classes.txt"
    classes = read_classes(classes_file, faults) if classes_file.is_file() else ()
    read = _rows(path, images, classes, faults)
    if read is None:
        return None
    images, rows, source = read
    if not classes_file.is_file():
        classes = tuple(sorted({tag for row in rows if row for tag in row.tags}))
        check_classes(classes, None, source, faults)
        if not classes:
            faults.add(source, None, "expected labels, found none", "label each image with its classes")
            return None
    labels = label_matrix(rows, classes, faults)
    masks = _masks(path / "masks", images, faults)
    held_out = _held_out(path / "val.txt", images, faults)

    def split(chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> FileDataset:
        picked = [int(index) for index in chosen]
        return FileDataset(
            classes=classes,
            names=tuple(images.names[index] for index in picked),
            images=tuple(images.paths[index] for index in picked),
            labels=labels[chosen],
            masks=tuple(masks[index] for index in picked),
            scored=np.array([masks[index] is not None for index in picked], dtype=np.bool_),
        )

    if held_out.all():
        faults.add(path / "val.txt", None, "no image is left to train on", "hold out fewer images")
    val = split(np.flatnonzero(held_out)) if held_out.any() else None
    return Splits(train=split(np.flatnonzero(~held_out)), val=val)


def _rows(
    path: Path, images: ImageFiles, classes: tuple[str, ...], faults: Faults
) -> tuple[ImageFiles, Sequence[Row | None], Path] | None:
    """The images, the row of each, and the file of the rows."""
    table, mapping = path / "labels.csv", path / "labels.json"
    if table.is_file() and mapping.is_file():
        faults.add(mapping, None, "there is also a labels.csv", "keep one of the two")
    if table.is_file():
        return images, rows_by_image(read_label_csv(table, classes, faults), images, table, faults), table
    if mapping.is_file():
        return images, rows_by_image(read_label_json(mapping, faults), images, mapping, faults), mapping
    if not any("/" in relative(file, images.root) for file in images.paths):
        faults.add(path, None, "expected labels.csv, labels.json or one folder for each tag, found none", _LAYOUT)
        return None
    return _tag_folders(images, faults)


def _tag_folders(images: ImageFiles, faults: Faults) -> tuple[ImageFiles, Sequence[Row | None], Path]:
    """Take the first folder of each path as the image's tag, and merge copies of the same image."""
    by_name: dict[str, list[int]] = {}
    for index, file in enumerate(images.paths):
        parts = relative(file, images.root).split("/")
        if len(parts) == 1:
            faults.add(file, None, "expected the image in a folder named after its tag, found it outside", _LAYOUT)
        else:
            by_name.setdefault("/".join(parts[1:]), []).append(index)
    tags: dict[int, list[str]] = {}
    stands_for: dict[int, int] = {}
    for copies in by_name.values():
        first: dict[tuple[int, str], int] = {}
        for index in copies:
            # Most names occur once: only files with the same name have to be read.
            key = _content(images.paths[index]) if len(copies) > 1 else (0, "")
            stands_for[index] = first.setdefault(key, index)
            tag = class_name(relative(images.paths[index], images.root).split("/")[0])
            tags.setdefault(stands_for[index], []).append(tag)
    rows = [Row(images.names[index], tuple(dict.fromkeys(tags[index])), images.root) for index in sorted(tags)]
    return images.merged(stands_for), rows, images.root


def _content(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _masks(folder: Path, images: ImageFiles, faults: Faults) -> list[Path | None]:
    """The mask file of each image; faults for files that are not PNG or belong to no image."""
    masks: list[Path | None] = [None] * len(images.paths)
    if not folder.is_dir():
        return masks
    strangers: list[Path] = []
    for file in sorted(files_below(folder)):
        if file.suffix.lower() != ".png":
            faults.add(file, None, f"expected PNG masks, got {file.suffix!r}", "save it as grey or palette PNG")
            continue
        found = images.find(relative(file, folder)[: -len(file.suffix)])
        if len(found) != 1:
            strangers.append(file)
        elif masks[found[0]] is not None:
            faults.add(file, None, f"{masks[found[0]]} is the mask of the same image", "remove one of the two")
        else:
            masks[found[0]] = file
    if strangers and all(mask is None for mask in masks):
        what = f"none of the {len(strangers)} masks is named like an image, e.g. {strangers[0].name!r}"
        faults.add(folder, None, what, f"name a mask like its image: {images.names[0]}.png")
        return masks
    for file in strangers:
        faults.warn(file, None, "the mask belongs to no image and is not used", "name it like its image, with .png")
    return masks


def _held_out(path: Path, images: ImageFiles, faults: Faults) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    held_out = np.zeros(len(images.paths), dtype=np.bool_)
    for line, name in read_names(path, faults) if path.is_file() else ():
        index = images.find_or_fault(name, faults, path, line)
        if index is not None:
            held_out[index] = True
    return held_out
