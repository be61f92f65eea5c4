"""Checks of a whole dataset before a run: every fault with file, line and remedy.

A run that is about to begin looks at headers, and decodes some masks, because a mistake in how they were written (other
numbers, nothing but 255) is in all of them and would be found only when everything is trained.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from deft.data.sound import check_splits, faults_of, sample_faults
from deft.data.spread import spread
from deft.data.teaching import unteachable
from deft.data.working_size import WorkingSize
from deft.guards.words import shown

_SIDE = 1024
"""Photographs are looked at scaled down to this side, which finds the same damage in less memory."""
_DARK = 65
"""An image whose maximum is below this looks black; the usual cause is 12 or 14 bits in a 16-bit file."""
MASKS = 500
"""Most masks of a split that are decoded before a run, evenly spread; ``deft check`` decodes all."""


def check(
    source: Splits | str,
    full: bool = True,
    progress: Progress | None = None,
    name: str = "data",
    masks: int = MASKS,
    untagged: bool = False,
) -> list[Fault]:
    """List every fault of a dataset; no file is written.

    Args:
        source: ``KIND:PATH``, or splits that are already open, whose labels were then checked on opening.
        full: decode every image and mask. Otherwise only headers and some masks are read, which reveals missing files,
            sizes that differ, files that are not images and masks with other values, but no damage further in; of a
            dataset without a list of files only the first image is read. What many masks have in common is then one
            fault.
        progress: called with the number of images checked and their total.
        name: of splits that are already open, for messages.
        masks: most masks of a split to decode if not ``full``.
        untagged: whether training images may lack labels altogether, because something else finds their classes.

    Returns:
        Faults in order: labels, then images, then classes. A run can start if all are warnings.

    Raises:
        InputError: ``KIND:PATH`` is not a dataset, or the splits lack a member of one.
    """
    return look_at(source, full, progress, name, masks, untagged)[1]


def look_at(
    source: Splits | str,
    full: bool = True,
    progress: Progress | None = None,
    name: str = "data",
    masks: int = MASKS,
    untagged: bool = False,
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
            shows: dict[str, bool] = {}
            common: dict[str, list[Fault]] = {}
            look = _looker(part, full, masks, shows)
            try:
                for found in pool.map(look, range(len(part))):
                    for fault in found:
                        if not full and not fault.warning and fault.remedy in (SIZE_REMEDY, VALUE_REMEDY):
                            common.setdefault(fault.remedy, []).append(fault)
                            continue
                        pointer = None if fault.warning else pointer_at(Path(fault.file))
                        (faults.all if pointer is None else pointers.setdefault(pointer, [])).append(fault)
                    done += 1
                    if progress is not None:
                        progress(done, total)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            faults.all += [_joined(group) for group in common.values()]
            _check_shown(shows, faults)
    for pointer, group in pointers.items():
        what = f"{counted(len(group), 'file is', 'files are')} without contents, left as pointers by {pointer.system}"
        faults.add(group[0].file, None, what, pointer.remedy)
    where = source if isinstance(source, str) else name
    _check_classes(splits, where, faults, untagged)
    for what, remedy in copies(splits.train, splits.val):
        faults.warn(where, None, what, remedy)
    return splits, faults.all


def _looker(part: Dataset, full: bool, masks: int, shows: dict[str, bool]) -> Callable[[int], list[Fault]]:
    """The function that looks at one image; ``shows`` receives whether each mask has any value but 255."""
    if isinstance(part, FileDataset):
        there = [index for index, path in enumerate(part.masks) if path is not None or _context_mask(part, index)]
        decoded = frozenset(range(len(part)) if full else spread(there, masks))
        return lambda index: _check_listed(part, index, full, index in decoded, shows)
    if isinstance(part, OutlinedImages):
        return lambda index: _check_outlined(part, index, full)
    return lambda index: _check_any(part, index, shows if full else {}) if full or index == 0 else []


def _joined(group: list[Fault]) -> Fault:
    """One fault of many masks that have the same."""
    more = f" (and {counted(len(group) - 1, 'more mask')} like it)" if len(group) > 1 else ""
    return replace(group[0], what=f"{group[0].what}{more}")


def _check_shown(shows: dict[str, bool], faults: Faults) -> None:
    """Add a fault if no mask that was decoded has anything but 255."""
    if shows and not any(shows.values()):
        what = "no value but 255, which means ignore" + (f", as in all {len(shows)} masks" if len(shows) > 1 else "")
        faults.add(min(shows), None, what, "write 0 for background and k for the k-th class, or remove the masks")


def _check_any(part: Dataset, index: int, shows: dict[str, bool]) -> list[Fault]:
    """Faults of one image of a dataset without a list of files: it cannot be read, or is not as promised."""
    try:
        sample = part[index]
        found = faults_of(part, index, sample)
        if not found and sample.mask is not None:
            shows[part.names[index]] = bool((sample.mask != IGNORE).any())
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


def _context_mask(part: FileDataset, index: int) -> Path | None:
    return part.context_masks[index] if part.context_masks else None


def _check_listed(part: FileDataset, index: int, full: bool, decode: bool, shows: dict[str, bool]) -> list[Fault]:
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
    mask = _check_mask(part.masks[index], size, len(part.classes), decode, faults)
    if mask is not None:
        shows[str(part.masks[index])] = bool((mask != IGNORE).any())
        if full:
            _compare(mask, part, index, faults)
    _check_mask(_context_mask(part, index), size, len(part.contexts), decode, faults)
    return faults.all


def _check_mask(
    path: Path | None, size: tuple[int, ...] | None, num_classes: int, decode: bool, faults: Faults
) -> NDArray[np.uint8] | None:
    """The mask, or None if it was not decoded; its faults are added."""
    if path is None:
        return None
    mask = None
    try:
        if decode:
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


def _check_classes(splits: Splits, where: str, faults: Faults, untagged: bool) -> None:
    """Add a fault for a training split without labels, and warnings for classes that cannot be learned."""
    train = splits.train
    if len(train) == 0:
        if not faults.errors:
            faults.add(where, None, "no image to train on", "list at least one")
        return
    counts = train.labels.sum(axis=0)
    if not counts.any() and untagged:
        return
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
