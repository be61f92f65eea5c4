"""Checks that a dataset of the user's own conforms to :class:`deft.Dataset`."""

from __future__ import annotations

from typing import Any

import numpy as np

from deft.contracts import Dataset, InputError, Sample, Splits
from deft.data.faults import Faults, refuse
from deft.data.layouts.file_dataset import SIZE_REMEDY, VALUE_REMEDY, mask_fault, size_fault
from deft.data.layouts.name_lists import check_classes
from deft.extend.members import check_dataset


def check_splits(splits: Splits, where: str = "data") -> None:
    """Check the members of both splits, and all that can be checked without reading an image.

    Args:
        splits: the object that a user's code made.
        where: its name, for the message.

    Raises:
        InputError: a member is missing or does not fit; the message names it.
    """
    if not isinstance(splits, Splits):
        raise InputError(
            f"{where}: expected KIND:PATH or deft.Splits, got {type(splits).__name__}; write "
            "deft.Splits(train=..., val=...), or val=None if nothing is held out"
        )
    check_dataset(f"{where}, train", splits.train)
    check_tags(f"{where}, train", splits.train)
    if splits.val is None:
        return
    check_dataset(f"{where}, val", splits.val)
    check_tags(f"{where}, val", splits.val)
    if splits.val.classes != splits.train.classes:
        raise InputError(
            f"{where}: expected both splits to have the same classes in the same order, got {splits.train.classes} in "
            f"train and {splits.val.classes} in val"
        )


def check_tags(where: str, data: Dataset) -> None:
    """Check the classes, names and arrays of a dataset; no image is read.

    Raises:
        InputError: a member does not fit; the message names it.
    """
    count = len(data)
    _names(f"{where}: classes", data.classes)
    _names(f"{where}: contexts", data.contexts)
    _names(f"{where}: names", data.names)
    faults = Faults()
    check_classes(data.classes, None, f"{where}: classes", faults)
    refuse(faults.all, where)
    if len(data.names) != count:
        raise InputError(f"{where}: expected {count} names, one per image, got {len(data.names)}")
    remedy = "convert it with .astype(bool)"
    _array(f"{where}: labels", data.labels, (count, len(data.classes)), "make it with deft.multi_hot")
    _array(f"{where}: scored", data.scored, (count,), remedy)
    if data.context_labels is not None:
        _array(f"{where}: context_labels", data.context_labels, (count, len(data.contexts)), remedy)
    for name, members in data.groups.items():
        _array(f"{where}: groups[{name!r}]", members, (count,), remedy)


def sample_faults(data: Dataset, index: int) -> list[tuple[str, str]]:
    """Faults of a sample, as pairs of fault and remedy.

    Raises:
        InputError: the image cannot be read.
    """
    return faults_of(data, index, data[index])


def faults_of(data: Dataset, index: int, sample: Any) -> list[tuple[str, str]]:
    """:func:`sample_faults` of a sample that has been read."""
    if not isinstance(sample, Sample):
        return [(f"expected a deft.Sample, got {type(sample).__name__}", "return deft.Sample(name, image, labels)")]
    if wrong := image_fault(sample.image):
        return [_parted(wrong)]
    found = []
    if sample.name != data.names[index]:
        found.append((f"its sample is named {sample.name!r}", "use the same name in names and in the sample"))
    labels = np.asarray(sample.labels)
    if labels.dtype != np.bool_ or not np.array_equal(labels, data.labels[index]):
        found.append(("its sample has other labels than labels[index]", "use the same bool array (K,) in both"))
    for truth, classes in ((sample.mask, data.classes), (sample.context, data.contexts)):
        if truth is not None and (wrong := truth_fault(truth, sample.full_size, len(classes))):
            found.append(_parted(wrong))
    return found


def image_fault(image: Any) -> str:
    """Fault of an image array and its remedy, or an empty string."""
    if not isinstance(image, np.ndarray):
        return f"expected an image as a NumPy array, got {type(image).__name__}; convert it with np.asarray"
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        return (
            f"expected an RGB image, uint8 (H, W, 3), got {image.dtype} {image.shape}; scale it to 0 to 255 and move "
            "its channels last, or read its file with deft.data.images.read_image"
        )
    return ""


def truth_fault(mask: Any, size: tuple[int, int], num_classes: int) -> str:
    """Fault of a mask and its remedy, or an empty string."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8 or mask.ndim != 2:
        came = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        return f"expected a mask, uint8 (H, W), got {came}; write k + 1 for class k, 0 for background"
    if mask.shape != size:
        return f"{size_fault(mask.shape, size)}; {SIZE_REMEDY}"
    wrong = mask_fault(mask, num_classes)
    return f"{wrong}; {VALUE_REMEDY}" if wrong else ""


def _parted(fault: str) -> tuple[str, str]:
    what, _, remedy = fault.rpartition("; ")
    return what, remedy


def _names(where: str, names: Any) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{where}: expected a tuple of names, got {str(names)[:80]!r}; write a tuple of strings")
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise InputError(f"{where}: expected each name once, got {twice!r} twice; rename one of the two")


def _array(where: str, array: Any, shape: tuple[int, ...], remedy: str) -> None:
    came = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
    if not isinstance(array, np.ndarray) or array.dtype != np.bool_ or array.shape != shape:
        raise InputError(f"{where}: expected a bool array {shape}, got {came}; {remedy}")
