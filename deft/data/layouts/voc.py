"""``voc:PATH``: the layout of PASCAL VOC (Everingham et al., 2010).

```
PATH/JPEGImages/NAME.jpg
PATH/ImageSets/Segmentation/train.txt, val.txt, train_aug.txt     one name per line; train_aug, if any, is trained on
PATH/SegmentationClassAug/ or SegmentationClass/NAME.png          optional masks
PATH/classes.txt                                                  optional, else the 20 VOC classes
PATH/image_labels.csv, else Annotations/NAME.xml, else cls_labels.npy
PATH/context_classes.txt, context_labels.csv, SegmentationContext/NAME.png     optional contexts
```

Tags of an XML file are the ``name`` of every ``object``, including difficult ones, as is usual in the field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError, Splits
from deft.data.faults import Faults
from deft.data.files import ImageFiles, image_files
from deft.data.importers.cls_labels import read_cls_labels, voc_name
from deft.data.labels import Row, label_matrix, read_label_csv, rows_by_image
from deft.data.layouts.annotations import read_annotation
from deft.data.layouts.file_dataset import FileDataset
from deft.data.layouts.name_lists import read_classes, read_names
from deft.guards.opening import exists, is_folder

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_LISTED_PATH = re.compile(r"/?(?:\S*/)?JPEGImages/(\S+)\.\w+(?:\s+\S+)?")
"""How some published lists name an image: ``/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png``."""


@dataclass(frozen=True)
class _Listed:
    """Images of one split, each with its line in the list."""

    file: Path
    indices: tuple[int, ...]
    lines: tuple[int, ...]


def read_voc(path: Path, faults: Faults) -> Splits | None:
    """Read lists and labels; no image is decoded.

    Args:
        path: an existing folder in VOC layout.
        faults: collects all faults; the result is complete only if there are no errors.

    Returns:
        The splits, or None if there is nothing to read.
    """
    if not is_folder(path / "JPEGImages"):
        inner = next((at for at in sorted(path.glob("**/JPEGImages")) if at.is_dir()), None) if path.is_dir() else None
        remedy = f"open voc:{inner.parent}" if inner else "put the images there, or use folder: for another layout"
        faults.add(path, None, "expected a folder JPEGImages, found none", remedy)
        return None
    images = image_files(path / "JPEGImages", faults=faults)
    lists = path / "ImageSets" / "Segmentation"
    plain = _listed(lists / "train.txt", images, faults)
    augmented = _listed(lists / "train_aug.txt", images, faults)
    val = _listed(lists / "val.txt", images, faults)
    train = augmented or plain
    if train is None:
        faults.add(lists, None, "expected train.txt or train_aug.txt, found neither", "list one image name per line")
        return None
    if val and (both := set(train.indices) & set(val.indices)):
        line = next(line for index, line in zip(val.indices, val.lines, strict=True) if index in both)
        what = f"{len(both)} images are also in {train.file.name}, e.g. {images.names[min(both)]!r}"
        faults.warn(val.file, line, what, "list them once: scores on training images are meaningless")
    classes_file = path / "classes.txt"
    classes = read_classes(classes_file, faults) if exists(classes_file) else VOC_CLASSES
    labels = _labels(path, images, [split for split in (train, val) if split], classes, faults)
    if labels is None:
        return None
    contexts, context_labels, context_folder = _contexts(path, images, faults)
    masks_folder = next(
        (path / name for name in ("SegmentationClassAug", "SegmentationClass") if is_folder(path / name)), None
    )
    scored = set(plain.indices) if plain and augmented else None

    def split(listed: _Listed, scored: set[int] | None) -> FileDataset:
        chosen = np.array(listed.indices, dtype=np.intp)
        masks = _beside(masks_folder, images, listed)
        counts = [
            mask is not None and (scored is None or index in scored)
            for mask, index in zip(masks, listed.indices, strict=True)
        ]
        if masks_folder and any(masks) and (missing := masks.count(None)) and scored is None:
            what = f"{missing} of {len(masks)} images have no mask in {masks_folder.name}"
            faults.warn(listed.file, None, what, "they are not scored; add their masks if they have any")
        return FileDataset(
            classes=classes,
            names=tuple(images.names[index] for index in listed.indices),
            images=tuple(images.paths[index] for index in listed.indices),
            labels=labels[chosen],
            masks=tuple(masks),
            scored=np.array(counts, dtype=np.bool_),
            contexts=contexts,
            context_labels=None if context_labels is None else context_labels[chosen],
            context_masks=tuple(_beside(context_folder, images, listed)) if context_folder else (),
        )

    return Splits(train=split(train, scored), val=split(val, None) if val else None)


def _listed(file: Path, images: ImageFiles, faults: Faults) -> _Listed | None:
    if not exists(file):
        return None
    found: dict[int, int] = {}
    for line, text in read_names(file, faults):
        match = _LISTED_PATH.fullmatch(text)
        index = images.find_or_fault(match[1] if match else text, faults, file, line)
        if index is not None and found.setdefault(index, line) != line:
            faults.add(file, line, f"{text!r} is already in line {found[index]}", "remove one of the two")
    return _Listed(file, tuple(found), tuple(found.values()))


def _beside(folder: Path | None, images: ImageFiles, listed: _Listed) -> list[Path | None]:
    """The PNG of each image in a folder of masks, or None."""
    if folder is None:
        return [None] * len(listed.indices)
    stems = [images.paths[index].relative_to(images.root).with_suffix("") for index in listed.indices]
    files = [folder / stem.parent / f"{stem.name}.png" for stem in stems]
    return [file if exists(file) else None for file in files]


def _labels(
    path: Path, images: ImageFiles, splits: Sequence[_Listed], classes: tuple[str, ...], faults: Faults
) -> NDArray[np.bool_] | None:
    """Multi-hot (images in the folder, K) from the first source that exists."""
    listed = sorted({index for split in splits for index in split.indices})
    table, notes = path / "image_labels.csv", path / "Annotations"
    packed = next((at for at in (path, path / "ImageSets" / "Segmentation") if exists(at / "cls_labels.npy")), None)
    if exists(table):
        rows = rows_by_image(read_label_csv(table, classes, faults, images), images, table, faults, needed=listed)
        return label_matrix(rows, classes, faults)
    if is_folder(notes):
        found: list[Row | None] = [None] * len(images.paths)
        for index in listed:
            name = images.paths[index].relative_to(images.root).with_suffix(".xml")
            if exists(notes / name):
                found[index] = read_annotation(notes / name, images.names[index], faults)
            else:
                faults.add(notes / name, None, f"image {images.names[index]!r} has no annotation", "add the file")
        return label_matrix(found, classes, faults)
    if packed is not None:
        return _packed_labels(packed / "cls_labels.npy", images, listed, classes, faults)
    what = "expected labels in image_labels.csv, Annotations/ or cls_labels.npy, found none"
    faults.add(path, None, what, "write image_labels.csv with the header image,labels")
    return None


def _packed_labels(
    file: Path, images: ImageFiles, listed: Sequence[int], classes: tuple[str, ...], faults: Faults
) -> NDArray[np.bool_]:
    labels = np.zeros((len(images.paths), len(classes)), dtype=np.bool_)
    try:
        packed = read_cls_labels(file)
    except InputError as error:
        message = str(error).removeprefix(f"{file}: ")
        what, _, remedy = message.rpartition("; ")
        faults.add(file, None, what, remedy)
        return labels
    length = len(next(iter(packed.values())))
    if length != len(classes):
        what = f"expected {len(classes)} classes, got {length}"
        faults.add(file, None, what, f"list its {length} classes in classes.txt, in order")
        return labels
    seen = np.zeros(len(labels), dtype=np.bool_)
    for key, row in packed.items():
        for index in images.find(str(key)) or images.find(voc_name(key)):
            labels[index], seen[index] = row, True
    for index in listed:
        if not seen[index]:
            faults.add(file, None, f"image {images.names[index]!r} has no labels", "add it, or use image_labels.csv")
    return labels


def _contexts(
    path: Path, images: ImageFiles, faults: Faults
) -> tuple[tuple[str, ...], NDArray[np.bool_] | None, Path | None]:
    """Names, labels (images in the folder, J) and mask folder of the contexts, as far as they exist."""
    names_file, table, folder = path / "context_classes.txt", path / "context_labels.csv", path / "SegmentationContext"
    if not exists(names_file):
        return (), None, None
    contexts = read_classes(names_file, faults)
    labels = None
    if exists(table):
        rows = rows_by_image(read_label_csv(table, contexts, faults, images), images, table, faults, needed=())
        labels = label_matrix(rows, contexts, faults)
    return contexts, labels, folder if is_folder(folder) else None
