"""Checks of a whole dataset before a run: every fault with file, line and remedy."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE, Dataset, InputError, Progress, Splits
from deft.data.copies import copies
from deft.data.faults import Fault, Faults, counted
from deft.data.images import image_size, mask_size, read_mask, read_scaled
from deft.data.layouts.file_dataset import SIZE_REMEDY, VALUE_REMEDY, FileDataset, mask_fault, size_fault, values_in
from deft.data.layouts.outlined import OutlinedImages
from deft.data.opening import read_data
from deft.data.pointers import Pointer, pointer_at
from deft.data.sound import check_splits, sample_faults
from deft.data.teaching import unteachable
from deft.data.working_size import WorkingSize
from deft.guards.words import shown

_SIDE = 1024
"""Photographs are looked at scaled down to this side, which finds the same damage in less memory."""
_DARK = 65
"""An image whose maximum is below this looks black; the usual cause is 12 or 14 bits in a 16-bit file."""


def check(source: Splits | str, full: bool = True, progress: Progress | None = None, name: str = "data") -> list[Fault]:
    """List every fault of a dataset; no file is written.

    Args:
        source: ``KIND:PATH``, or splits that are already open, whose labels were then checked on opening.
        full: decode every image and mask. Otherwise only headers are read, which reveals missing files, sizes that
            differ and files that are not images, but no damage further in; of a dataset without a list of files only
            the first image is read.
        progress: called with the number of images checked and their total.
        name: of splits that are already open, for messages.

    Returns:
        Faults in order: labels, then images, then classes. A run can start if all are warnings.

    Raises:
        InputError: ``KIND:PATH`` is not a dataset, or the splits lack a member of one.
    """
    return look_at(source, full, progress, name)[1]


def look_at(
    source: Splits | str, full: bool = True, progress: Progress | None = None, name: str = "data"
) -> tuple[Splits | None, list[Fault]]:
    """Open a dataset and list its faults, as :func:`check` does; also returns the splits as far as they can be read."""
    faults = Faults()
    splits = read_data(source, faults) if isinstance(source, str) else source
    if splits is None:
        return None, faults.all
    if not isinstance(source, str):
        check_splits(source)
    parts = [splits.train] if splits.val is None else [splits.train, splits.val]
    total = sum(len(part) for part in parts)
    done = 0
    pointers: dict[Pointer, list[Fault]] = {}
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for part in parts:
            look = _looker(part, full)
            try:
                for found in pool.map(look, range(len(part))):
                    for fault in found:
                        pointer = None if fault.warning else pointer_at(Path(fault.file))
                        (faults.all if pointer is None else pointers.setdefault(pointer, [])).append(fault)
                    done += 1
                    if progress is not None:
                        progress(done, total)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    for pointer, group in pointers.items():
        what = f"{counted(len(group), 'file is', 'files are')} without contents, left as pointers by {pointer.system}"
        faults.add(group[0].file, None, what, pointer.remedy)
    where = source if isinstance(source, str) else name
    _check_classes(splits, where, faults)
    for what, remedy in copies(splits.train, splits.val):
        faults.warn(where, None, what, remedy)
    return splits, faults.all


def _looker(part: Dataset, full: bool) -> Callable[[int], list[Fault]]:
    if isinstance(part, FileDataset):
        return lambda index: _check_listed(part, index, full)
    if isinstance(part, OutlinedImages):
        return lambda index: _check_outlined(part, index, full)
    return lambda index: _check_any(part, index) if full or index == 0 else []


def _check_any(part: Dataset, index: int) -> list[Fault]:
    """Faults of one image of a dataset without a list of files: it cannot be read, or is not as promised."""
    try:
        found = sample_faults(part, index)
    except InputError as error:
        said = str(error).removeprefix(f"{part.names[index]}: ")
        return [Fault(part.names[index], None, said, "correct or remove it")]
    return [Fault(part.names[index], None, what, remedy) for what, remedy in found]


def _check_outlined(part: OutlinedImages, index: int, full: bool) -> list[Fault]:
    """Faults of an image with outlines, whose size has to be that of the annotations."""
    faults = Faults()
    path = part.images[index]
    try:
        if full:
            for what, remedy in sample_faults(WorkingSize(part, _SIDE), index):
                faults.add(path, None, what, remedy)
        elif part.scored[index]:
            part.drawn_upright(index)
        else:
            image_size(path)
        if remark := part.orientation_fault(index):
            faults.warn(path, None, *remark)
    except InputError as error:
        faults.all.append(_from_error(error, path))
    return faults.all


def _check_listed(part: FileDataset, index: int, full: bool) -> list[Fault]:
    faults = Faults()
    path = part.images[index]
    try:
        if full:
            image, size = read_scaled(path, _SIDE)
            if int(image.max(initial=0)) < _DARK:
                faults.warn(
                    path,
                    None,
                    f"looks black: its brightest value is {image.max()} of 255",
                    "check its range: in a 16-bit file white is 65535",
                )
        else:
            size = image_size(path)
    except InputError as error:
        faults.all.append(_from_error(error, path))
        size = None
    mask = _check_mask(part.masks[index], size, len(part.classes), full, faults)
    if mask is not None:
        _compare(mask, part, index, faults)
    if part.context_masks:
        _check_mask(part.context_masks[index], size, len(part.contexts), full, faults)
    return faults.all


def _check_mask(
    path: Path | None, size: tuple[int, ...] | None, num_classes: int, full: bool, faults: Faults
) -> NDArray[np.uint8] | None:
    """The mask, or None if it was not decoded; its faults are added."""
    if path is None:
        return None
    mask = None
    try:
        if full:
            mask = read_mask(path)
            came = mask.shape
            if wrong := mask_fault(mask, num_classes):
                faults.add(path, None, wrong, VALUE_REMEDY)
        else:
            came = mask_size(path)
    except InputError as error:
        faults.all.append(_from_error(error, path))
        return None
    if size is not None and tuple(came) != tuple(size):
        faults.add(path, None, size_fault(came, size), SIZE_REMEDY)
    return mask


def _compare(mask: NDArray[np.uint8], part: FileDataset, index: int, faults: Faults) -> None:
    """Warn if a mask shows a class that is not among the labels, or nothing but "ignore"."""
    values = np.flatnonzero(values_in(mask))
    present = [int(value) - 1 for value in values if 0 < value <= len(part.classes)]
    path = part.masks[index] or ""
    for k in present:
        if not part.labels[index, k]:
            what = f"the mask shows {part.classes[k]!r}, but {part.names[index]!r} does not have this label"
            faults.warn(path, None, what, "add the label or correct the mask")
    if not present and IGNORE in values and part.labels[index].any():
        faults.warn(path, None, "no class but 255, which means ignore", "write k for the k-th class")


def _check_classes(splits: Splits, where: str, faults: Faults) -> None:
    """Add a fault for a training split without labels, and warnings for classes that cannot be learned."""
    train = splits.train
    if len(train) == 0:
        if not faults.errors:
            faults.add(where, None, "no image to train on", "list at least one")
        return
    counts = train.labels.sum(axis=0)
    if not counts.any() and not faults.errors:
        faults.add(where, None, "no training image has a label", "label each image with its classes")
        return
    for name, count in zip(train.classes, counts, strict=True):
        if count == 0:
            faults.warn(where, None, f"class {name!r} has no training image", "add some, or drop the class")
    for what, remedy in unteachable(train.labels, train.classes) if not faults.errors else ():
        faults.warn(where, None, what, remedy)


def _from_error(error: InputError, path: Path) -> Fault:
    """The fault in a reader's one-line message ``file: what; remedy``."""
    what, _, remedy = str(error).removeprefix(f"{shown(path)}: ").rpartition("; ")
    return Fault(str(path), None, what, remedy)
