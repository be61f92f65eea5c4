"""The records of COCO's JSON: categories, images and annotations, read for what they hold, every fault named once.

Ids may be numbers or text, values as tables write them (``NaN`` for nothing, numbers as text).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from deft.data.faults import Faults
from deft.data.files import ImageFiles
from deft.data.layouts.outlines import Outline, read_segmentation
from deft.data.layouts.photographs import ExportedNames, fault_missing
from deft.data.layouts.values import class_of, flag, id_order, identifier, is_nothing, short, whole_number

Size = tuple[int, int]
"""(H, W)."""


class Annotation(NamedTuple):
    """One object."""

    label: str
    """What it is called in messages."""
    category: str
    crowd: bool
    outline: Outline | None


def _records(entries: list[Any], what: str, file: Path, faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries that are objects, each with its position; a fault for the first of the others."""
    wrong = [index for index, each in enumerate(entries) if not isinstance(each, dict)]
    if wrong:
        came = f"{short(entries[wrong[0]])} at position {wrong[0]}"
        faults.add(file, None, f"expected {what} as objects with fields, got {came}", "export it again")
    return ((index, each) for index, each in enumerate(entries) if isinstance(each, dict))


def read_categories(entries: list[Any], file: Path, faults: Faults) -> tuple[dict[str, str | None], frozenset[str]]:
    """Name of each category id, and the names that are the supercategory of others."""
    names: dict[str, str | None] = {}
    parents: set[str] = set()
    for index, each in _records(entries, "categories", file, faults):
        key, name = identifier(each.get("id")), class_of(each.get("name"))
        if key is None:
            faults.add(file, None, f"category {short(each.get('name'))} at position {index} has no id", "give it one")
            continue
        if name is None and not is_nothing(each.get("name")):
            faults.add(file, None, f"category {key} has the name {short(each['name'])}", "name it in printable text")
            continue
        parent = class_of(each.get("supercategory"))
        if parent is not None and parent != name:
            parents.add(parent)
        if key in names and names[key] != name:
            what = f"the category id {key} stands for {short(names[key])} and for {short(name)}"
            faults.add(file, None, what, "give each category an id of its own")
        elif key in names:
            faults.warn(file, None, f"category {key} ({short(name)}) is listed twice", "nothing to do: it is one class")
        names.setdefault(key, name)
    return names, frozenset(parents)


def read_images(
    entries: list[Any], images: ImageFiles, file: Path, faults: Faults
) -> dict[str, tuple[int | None, Size | None]]:
    """File and size of each image id, in the order of the ids; the file is None if it is missing."""
    found: dict[str, tuple[int | None, Size | None]] = {}
    by_image: dict[int, str] = {}
    missing: list[str] = []
    exported = ExportedNames.of(images)
    for index, each in _records(entries, "images", file, faults):
        name = each.get("file_name")
        if is_nothing(name) and isinstance(each.get("coco_url"), str):
            name = each["coco_url"].rpartition("/")[2]  # LVIS
        key = identifier(each.get("id"))
        if key is None or is_nothing(name) or not isinstance(name, str):
            lacks = "id" if key is None else "file_name"
            faults.add(file, None, f"image {short(key if key else name)} at position {index} has no {lacks}", "add it")
            continue
        place = exported.find(name)
        if place is None:
            missing.append(name)
        twice = key in found or (place is not None and by_image.setdefault(place, key) != key)
        if twice:
            what = f"two images of one name or id, {name!r} with the id {key}"
            faults.add(file, None, what, "list each image once, with an id of its own")
            continue
        height, width = (None if is_nothing(each.get(side)) else each[side] for side in ("height", "width"))
        sides = [whole_number(side) for side in (height, width)]
        given = zip((height, width), sides, strict=True)
        if any(text is not None and (side is None or side < 1) for text, side in given):
            came = f"{short(each.get('width'))} x {short(each.get('height'))}"
            faults.add(file, None, f"image {key} has the size {came}", "write its width and height in pixels")
            continue
        size = None if sides[0] is None or sides[1] is None else (sides[0], sides[1])
        found[key] = place, size
    fault_missing(missing, len(entries), file, images.root, faults)
    return {key: found[key] for key in sorted(found, key=id_order)}


def read_annotations(
    entries: list[Any],
    names: dict[str, str | None],
    photographs: dict[str, tuple[int | None, Size | None]],
    objects: dict[str, list[Annotation]],
    file: Path,
    faults: Faults,
) -> None:
    """Add every annotation to its image; one fault for each that cannot be read, and for each unknown category."""
    dangling: list[str] = []
    unknown: dict[str, list[str]] = {}
    for index, each in _records(entries, "annotations", file, faults):
        own = identifier(each.get("id"))
        label = f"at position {index}" if own is None else own
        image, category = identifier(each.get("image_id")), identifier(each.get("category_id"))
        if image is None or image not in photographs:
            dangling.append(f"annotation {label} of image {short(each.get('image_id'))}")
            continue
        if category is None or names.get(category) is None:
            unknown.setdefault(short(each.get("category_id")), []).append(label)
            continue
        crowd = flag(each.get("iscrowd"))
        if crowd is None:
            what = f"annotation {label}: expected iscrowd to be 0 or 1, got {short(each.get('iscrowd'))}"
            faults.add(file, None, what, "correct it")
            continue
        try:
            outline = read_segmentation(each.get("segmentation"), photographs[image][1])
        except ValueError as error:
            faults.add(file, None, f"annotation {label}: {error}", "correct or remove it")
            outline = None
        objects[image].append(Annotation(label, category, crowd, outline))
    for given, labels in unknown.items():
        more = f" (and {len(labels) - 1} more)" if len(labels) > 1 else ""
        what = f"annotation {labels[0]}{more} has the category {given}, which is not listed or has no name"
        faults.add(file, None, what, "list it in categories with a name")
    if dangling:
        what = f"{len(dangling)} of {len(entries)} annotations are of images that are not listed, e.g. {dangling[0]}"
        if len(dangling) == len(entries):
            faults.add(file, None, what, "use the ids of the images in image_id")
        else:
            faults.warn(file, None, what, "they are left out; list their images to use them")
