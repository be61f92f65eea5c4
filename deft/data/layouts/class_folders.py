"""Folders as tags: ``cow/a.jpg``, and splits over them: ``train/cow/a.jpg``, ``val/cow/b.jpg``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError
from deft.data.faults import Faults, counted
from deft.data.files import ImageFiles, relative
from deft.data.labels import Row
from deft.data.layouts.name_lists import class_name
from deft.guards.opening import open_regular

LAYOUT = "put the images into images/ next to labels.csv (header image,labels), or into one folder for each tag"
_SPLITS = {
    **dict.fromkeys(("train", "training", "trainset", "train_set", "training_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset", "val_set", "validation_set"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "test_set"), "test"),
}
"""Usual names of splits, in lower case."""


@dataclass(frozen=True)
class Tagged:
    """Images in folders for their tags."""

    images: ImageFiles
    rows: Sequence[Row]
    """One for each image."""
    held_out: NDArray[np.bool_] | None
    """(N,): in a folder for validation; None if there is none."""


def split_folders(images: ImageFiles) -> Mapping[str, str]:
    """The folders directly in ``images.root`` that are splits, and which; empty unless all with images are."""
    tops = {parts[0] for parts in _parts(images) if len(parts) > 1}
    return _kinds(tops) if all(top.casefold() in _SPLITS for top in tops) else {}


def read_class_folders(images: ImageFiles, faults: Faults) -> Tagged | None:
    """Take the folder of each image as its tag, and merge copies of the same image.

    Args:
        images: the images; at least one is in a folder.
        faults: collects faults, and remarks on what is left out.

    Returns:
        The images with their tags, or None if the folders are no tags.
    """
    parts = _parts(images)
    deep = {top for top, *rest in parts if len(rest) > 1}
    tops = {top for top, *rest in parts if rest}
    kinds = _kinds(tops)
    if kinds and len(kinds) < len(tops):
        mixed = len(kinds) > 1 and set(kinds) <= deep and "train" in kinds.values()
        if mixed:
            others = ", ".join(repr(top) for top in sorted(tops - set(kinds))[:3])
            what = f"expected either splits or tags, found the splits {_list(kinds)} next to {others}"
            faults.add(images.root, None, what, "move the other folders elsewhere")
            return None
        kinds = {}
    if kinds and not any(kind == "train" and top in deep for top, kind in kinds.items()):
        what = f"expected one folder for each tag in train/, found {_list(kinds)} without such folders"
        faults.add(images.root, None, what, "put the images into folders such as train/cow, or write labels.csv")
        return None
    return _read(images, parts, kinds, faults)


def _read(images: ImageFiles, parts: Sequence[list[str]], kinds: Mapping[str, str], faults: Faults) -> Tagged:
    """Read the tags; ``kinds`` are the folders that are splits, or nothing."""
    depth = 1 if kinds else 0
    held = "val" if "val" in kinds.values() else "test"
    copies: dict[tuple[str, str], list[int]] = {}
    outside: list[int] = []
    left: dict[str, int] = {}
    for index, names in enumerate(parts):
        split = kinds.get(names[0], "") if len(names) > 1 else ""
        if split == "test" and held == "val":
            left[f"{names[0]}/"] = left.get(f"{names[0]}/", 0) + 1
        elif len(names) > depth + 1 and (split or not kinds):
            copies.setdefault((split, "/".join(names[depth + 1 :])), []).append(index)
        elif split in ("val", "test"):
            left[f"{names[0]}/"] = left.get(f"{names[0]}/", 0) + 1
        else:
            outside.append(index)
    _tell(images, outside, left, faults)
    if kinds:
        used = [f"{top}/ as {'training' if kind == 'train' else 'held-out'} images" for top, kind in kinds.items()]
        used = [said for said, kind in zip(used, kinds.values(), strict=True) if kind in ("train", held)]
        faults.warn(images.root, None, f"read as splits: {', '.join(used)}", "rename these folders if they are tags")
    stands_for, tags = _merged(images, parts, copies.values(), depth)
    rows = [Row(images.names[index], tuple(dict.fromkeys(tags[index])), images.root) for index in sorted(tags)]
    kept = [kinds.get(parts[index][0]) for index in sorted(tags)]
    held_out = np.array([kind == held for kind in kept], dtype=np.bool_) if kinds else None
    if held_out is not None and not held_out.any():
        held_out = None
    return Tagged(images.merged(stands_for), rows, held_out)


def _merged(
    images: ImageFiles, parts: Sequence[list[str]], copies: Iterable[list[int]], depth: int
) -> tuple[dict[int, int], dict[int, list[str]]]:
    """The image that each stands for, and the tags of those that remain."""
    tags: dict[int, list[str]] = {}
    stands_for: dict[int, int] = {}
    for group in copies:
        first: dict[tuple[int, str], int] = {}
        for index in group:
            # Most names occur once: only files with the same name have to be read.
            key = _content(images.paths[index], index) if len(group) > 1 else (0, "")
            stands_for[index] = first.setdefault(key, index)
            tags.setdefault(stands_for[index], []).append(class_name(parts[index][depth]))
    return stands_for, tags


def _tell(images: ImageFiles, outside: Sequence[int], left: Mapping[str, int], faults: Faults) -> None:
    """Add a fault for images outside of the folders, and a remark on splits that are not used."""
    for index in outside if len(outside) <= 3 else outside[:1]:
        more = f" (and {len(outside) - 1} more)" if len(outside) > 3 else ""
        what = f"expected the image in a folder named after its tag, found it outside{more}"
        faults.add(images.paths[index], None, what, LAYOUT)
    for folder, count in left.items():
        what = f"{counted(count, 'image')} in {folder} left out"
        faults.warn(
            images.root, None, what, "only train/ and val/, or test/ without val/, with folders for tags are read"
        )


def _parts(images: ImageFiles) -> list[list[str]]:
    return [relative(file, images.root).split("/") for file in images.paths]


def _kinds(tops: set[str]) -> dict[str, str]:
    return {top: _SPLITS[top.casefold()] for top in sorted(tops) if top.casefold() in _SPLITS}


def _list(names: Mapping[str, str]) -> str:
    return " and ".join(f"{name}/" for name in names)


def _content(path: Path, index: int) -> tuple[int, str]:
    """A key that is equal for equal files; a file that cannot be read equals no other."""
    try:
        with open_regular(path) as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, InputError):
        return -1, str(index)
