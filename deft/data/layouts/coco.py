"""``coco:PATH``: COCO (Lin et al., 2014, arXiv:1405.0312) as distributed; the only module that imports pycocotools.

```
PATH/annotations/instances_train2014.json, instances_val2014.json
PATH/train2014/, val2014/                                             or 2017 in all four names
```

COCO has no semantic masks, and there is no agreed way to draw them. Here:

- Labels are the classes of all objects except crowds. Classes are in the order of their category ids.
- A mask is drawn from the objects on demand: crowds first, as 255, then objects from the largest to the smallest, by
  area in pixels, so that an object in front of a larger one is visible.
- Images without a label are kept and counted, or left out with ``coco:PATH?empty=drop``.

EXIF rotation is not applied, because COCO's polygons refer to the pixels as stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE, InputError, Sample, Splits
from deft.data.faults import Faults
from deft.data.images import read_image
from deft.data.labels import multi_hot
from deft.data.layouts.name_lists import check_classes, class_name
from deft.data.options import split_options
from deft.data.places import places_of

YEARS = ("2014", "2017")


class Instance(NamedTuple):
    """One object with its outline."""

    value: int
    """Mask value: k + 1 for class k; 255 for a crowd."""
    outline: Any
    """As in the file: polygons, or run lengths."""


@dataclass(frozen=True, eq=False)
class CocoImages:
    """A ``Dataset`` of one split; annotations are in memory, images are decoded and masks drawn on demand."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    images: tuple[Path, ...]
    """File of each image, (N,)."""
    labels: NDArray[np.bool_]
    """Multi-hot, (N, K)."""
    sizes: tuple[tuple[int, int], ...]
    """(H, W) of each image according to the annotations."""
    instances: tuple[tuple[Instance, ...], ...]
    annotations: Path
    """The annotation file of the split."""
    contexts: tuple[str, ...] = ()
    context_labels: NDArray[np.bool_] | None = None
    groups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    draws: bool = True
    """Whether samples have masks."""

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Every image has a mask."""
        return np.ones(len(self.names), dtype=np.bool_)

    def __len__(self) -> int:
        """N."""
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Decode one image and draw its mask; raises InputError naming the file if that fails."""
        image = read_image(self.images[index], upright=False)
        if image.shape[:2] != self.sizes[index]:
            (height, width), (wide, high) = image.shape[:2], self.sizes[index][::-1]
            raise InputError(
                f"{self.images[index]}: expected {wide} x {high} pixels as in the annotations, got {width} x {height}; "
                "use images and annotations of the same release, not resized"
            )
        mask = draw(self.instances[index], self.sizes[index]) if self.draws else None
        return Sample(self.names[index], image, self.labels[index].copy(), mask)

    @property
    def places(self) -> set[Path]:
        """The annotation file and the folders of the images."""
        return {self.annotations} | places_of(self.images)

    def without_truth(self) -> CocoImages:
        """The same images and tags, without masks."""
        return replace(self, draws=False)

    def fingerprint(self) -> str:
        """Digest of classes, names, labels and the size and time of each file."""
        digest = hashlib.sha256(repr((self.classes, self.names)).encode())
        digest.update(np.packbits(self.labels).tobytes())
        for path in (self.annotations, *self.images):
            status = os.stat(path)
            digest.update(f"{path.name},{status.st_size},{status.st_mtime_ns};".encode())
        return digest.hexdigest()


def draw(instances: Sequence[Instance], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw the mask (H, W) of objects: crowds at the bottom, objects above, small ones over large ones."""
    from pycocotools import mask as coco

    height, width = size
    shapes = []
    for value, outline in instances:
        if isinstance(outline, list):
            # pycocotools would take four numbers for a box; they are two points, which enclose no area.
            polygons = [polygon for polygon in outline if len(polygon) >= 6]
            if not polygons:
                continue
            outline = coco.merge(coco.frPyObjects(polygons, height, width))
        elif isinstance(outline["counts"], list):
            outline = coco.frPyObjects(outline, height, width)
        shapes.append((value != IGNORE, -int(coco.area(outline)), value, outline))
    mask = np.zeros(size, dtype=np.uint8)
    for _, _, value, outline in sorted(shapes, key=lambda shape: shape[:2]):
        mask[coco.decode(outline).astype(bool)] = value
    return mask


def read_coco(path: Path, options: str, faults: Faults) -> Splits | None:
    """Read both annotation files; no image is decoded.

    Args:
        path: the folder with ``annotations``.
        options: the text after ``?``: ``empty=drop``, ``year=2017``, separated by ``,`` or ``&``.
        faults: collects the faults of the files.

    Raises:
        InputError: an option is unknown, or pycocotools is not installed.
    """
    try:
        import pycocotools  # noqa: F401
    except ImportError:
        raise InputError("coco: needs the package pycocotools; pip install 'deft-wsss[coco]'") from None
    known = {"empty": ("keep", "drop"), "year": YEARS}
    chosen = {}
    for option in split_options(options):
        name, _, value = option.partition("=")
        if value not in known.get(name, ()):
            raise InputError(f"coco:PATH?{options}: expected empty=keep, empty=drop, year=2014 or year=2017")
        chosen[name] = value
    here = [year for year in YEARS if (path / "annotations" / f"instances_train{year}.json").is_file()]
    year = chosen.get("year", here[0] if here else YEARS[0])
    drop = chosen.get("empty") == "drop"
    train = _split(path, f"train{year}", drop, faults)
    if train is None:
        return None
    val = None
    if (path / "annotations" / f"instances_val{year}.json").is_file():
        val = _split(path, f"val{year}", drop, faults)
    if val is not None and val.classes != train.classes:
        faults.add(val.annotations, None, "its categories differ from those of train", "use files of the same release")
        return None
    return Splits(train, val)


def _split(path: Path, part: str, drop: bool, faults: Faults) -> CocoImages | None:
    file, folder = path / "annotations" / f"instances_{part}.json", path / part
    for needed in (file, folder):
        if not needed.exists():
            faults.add(needed, None, "expected the annotations and images of COCO, found none", "unpack them there")
            return None
    try:
        with file.open("rb") as opened:
            return _parsed(json.load(opened), file, folder, drop, faults)
    except json.JSONDecodeError as error:
        faults.add(file, error.lineno, f"not valid JSON ({error.msg})", "download it again")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"expected annotations of instances, got {type(error).__name__}: {error}"
        faults.add(file, None, what, "download it again")
    return None


def _parsed(content: Any, file: Path, folder: Path, drop: bool, faults: Faults) -> CocoImages:
    categories = sorted(content["categories"], key=lambda category: int(category["id"]))
    classes = tuple(class_name(str(category["name"])) for category in categories)
    check_classes(classes, None, file, faults)
    position = {category["id"]: index for index, category in enumerate(categories)}
    images = {image["id"]: image for image in sorted(content["images"], key=lambda image: int(image["id"]))}
    objects: dict[Any, list[Instance]] = {number: [] for number in images}
    for each in content["annotations"]:
        crowd = bool(each.get("iscrowd", 0))
        if not isinstance(each["segmentation"], list | dict):
            raise ValueError(f"annotation {each['id']} has no outline")
        value = position[each["category_id"]] + 1
        objects[each["image_id"]].append(Instance(IGNORE if crowd else value, each["segmentation"]))
    there = set(os.listdir(folder))
    if len({Path(image["file_name"]).stem for image in images.values()}) < len(content["images"]):
        raise ValueError("two images of one name")
    missing = [image["file_name"] for image in images.values() if image["file_name"] not in there]
    if missing:
        what = f"{len(missing)} of the {len(images)} images of {file.name} are missing, e.g. {missing[0]!r}"
        faults.add(folder, None, what, "unpack all images of the release there")
    present = {number: {one.value - 1 for one in found if one.value != IGNORE} for number, found in objects.items()}
    empty = sum(not found for found in present.values())
    if empty and not drop:
        what = f"{empty} of {len(images)} images show no object of a class and are trained on without labels"
        faults.warn(file, None, what, "append ?empty=drop to the path to leave them out")
    kept = [number for number in images if present[number] or not drop]
    return CocoImages(
        classes=classes,
        names=tuple(Path(images[number]["file_name"]).stem for number in kept),
        images=tuple(folder / images[number]["file_name"] for number in kept),
        labels=multi_hot([sorted(present[number]) for number in kept], len(classes)),
        sizes=tuple((int(images[number]["height"]), int(images[number]["width"])) for number in kept),
        instances=tuple(tuple(objects[number]) for number in kept),
        annotations=file,
    )
