"""Class-free masks: regions of an image without a class, from files of other tools or from a label map.

A folder has, for each image, one of these::

    FOLDER/NAME.json    a list of masks, or {"annotations": [...]}: each {"segmentation": COCO's run lengths with size
                        [H, W], "class": optional}, as SAM's mask generator writes them
    FOLDER/NAME.npz     masks (M, H, W), bool or uint8; optional classes (M,), names, empty for none
    FOLDER/NAME.png     8- or 16-bit: each value above 0 is a mask
    FOLDER/NAME/*.png   one mask each: pixels above half of the range

NAME is the image's name in the dataset; characters that file systems do not allow are written as in
:func:`deft.artifacts.file_stem`. Masks have the size of the photograph, or that at which it is read. A mask with a
class, one that was prompted for, votes only for it. No code in a file is executed, and none is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.artifacts import BROKEN_ARRAYS, array_header, file_stem, read_arrays, read_json
from deft.artifacts.contents import joined
from deft.contracts import DigestFiles, InputError, Splits
from deft.data.layouts.run_lengths import checked_counts, counts_to_mask
from deft.data.scaling import fitted
from deft.data.working_size import KnowsSizes
from deft.guards.opening import UnreadableError, exists
from deft.guards.pictures import MAX_PIXELS, read_png
from deft.guards.words import first_line, shown

SHOWN = 5
"""Number of faults that a message lists."""
_BROKEN = (*BROKEN_ARRAYS, IndexError, TypeError, AttributeError, SyntaxError, RecursionError)
"""Exceptions for files of another form."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Segments(Protocol):
    """The M masks of one image of (H, W) pixels; they may overlap and leave pixels uncovered."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each mask, (M,); empty for none."""

    def sums(self, planes: Floats) -> tuple[Floats, Floats]:
        """Sums of planes (P, H, W) over each mask, (M, P), and the number of its pixels, (M,)."""

    def paint(self, onto: Floats, values: Floats, order: Sequence[int]) -> None:
        """Set planes (P, H, W) to ``values`` (M, P) on each mask, in this order of the masks."""


@dataclass(frozen=True)
class Stack:
    """Masks that are decoded one at a time."""

    size: tuple[int, int]
    classes: tuple[str, ...]
    mask: Callable[[int], Bools]
    """Mask of an index, (H, W)."""

    def sums(self, planes: Floats) -> tuple[Floats, Floats]:
        """As :meth:`Segments.sums`."""
        found, area = np.zeros((len(self.classes), len(planes))), np.zeros(len(self.classes))
        flat = planes.reshape(len(planes), -1)
        for index in range(len(self.classes)):
            inside = np.flatnonzero(self.mask(index))
            area[index] = len(inside)
            found[index] = [plane[inside].sum() for plane in flat]
        return found, area

    def paint(self, onto: Floats, values: Floats, order: Sequence[int]) -> None:
        """As :meth:`Segments.paint`."""
        for index in order:
            inside = self.mask(index)
            for plane, value in zip(onto, values[index], strict=True):
                np.copyto(plane, value, where=inside)


@dataclass(frozen=True)
class Partition:
    """Masks that do not overlap: a label map (H, W), whose values above 0 are masks 1 to M."""

    labels: NDArray[np.intp]
    classes: tuple[str, ...]

    def sums(self, planes: Floats) -> tuple[Floats, Floats]:
        """As :meth:`Segments.sums`; one pass over the pixels of each plane."""
        flat, count = self.labels.ravel(), len(self.classes) + 1
        found = [np.bincount(flat, weights=plane.ravel(), minlength=count)[1:] for plane in planes]
        area = np.bincount(flat, minlength=count)[1:].astype(np.float64)
        return np.stack(found, axis=1) if found else np.zeros((count - 1, 0)), area

    def paint(self, onto: Floats, values: Floats, order: Sequence[int]) -> None:
        """As :meth:`Segments.paint`; the order does not matter."""
        table = np.concatenate([np.zeros((1, values.shape[1])), values])
        chosen = np.zeros(len(table), dtype=np.bool_)
        chosen[np.asarray(order, dtype=np.intp) + 1] = True
        inside = chosen[self.labels]
        onto[:, inside] = table[self.labels[inside]].T


def partition(labels: NDArray[np.integer[Any]]) -> Partition:
    """A partition of any label map (H, W); 0 is no mask."""
    values, flat = np.unique(labels, return_inverse=True)
    place = np.cumsum(values != 0)
    place[values == 0] = 0
    return Partition(place[flat].reshape(labels.shape).astype(np.intp), ("",) * int((values != 0).sum()))


def read_segments(root: Path, name: str, sizes: Sequence[tuple[int, int]]) -> tuple[Stack | Partition, tuple[int, int]]:
    """The masks of an image, and their size.

    Args:
        root: the folder.
        name: of the image.
        sizes: the sizes (H, W) that they may have.

    Raises:
        InputError: there are none, they cannot be read, or have another size.
    """
    source = source_of(root, name)
    if source is None:
        raise InputError(_missing(root, name))
    try:
        size, classes = _header(source)
        if size is not None and size not in sizes:
            raise InputError(_other_size(source, size, sizes))
        return _read(source, size or sizes[0], classes), size or sizes[0]
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(_broken(source, error)) from None


def check_segments(root: Path, splits: Splits, max_faults: int = SHOWN) -> None:
    """Check that there are masks for each tagged training image, of its size, and for no unknown class.

    Sizes are compared where the dataset knows those of its images without decoding them.

    Raises:
        InputError: the first faults.
    """
    train = splits.train
    faults = []
    for index, name in enumerate(train.names):
        if train.labels[index].any():
            faults += [fault] if (fault := _fault(root, name, splits, index)) else []
    if faults:
        more = [f"... and {len(faults) - max_faults} more"] if len(faults) > max_faults else []
        raise InputError("\n".join([*faults[:max_faults], *more]))


def segments_digest(root: Path, names: Sequence[str], digests: DigestFiles) -> str:
    """Digest of the files of some images, by their names and bytes."""
    sources = [source for name in names if (source := source_of(root, name)) is not None]
    return files_digest(
        root, (path for one in sources for path in (one.glob("*.png") if one.is_dir() else [one])), digests
    )


def files_digest(root: Path, paths: Iterable[Path], digests: DigestFiles) -> str:
    """Digest of files below a folder, by their names and bytes."""
    files = sorted(paths)
    lines = [os.fsencode(path.relative_to(root)).hex() for path in files]
    return joined([f"{line} {one}" for line, one in zip(lines, digests(files), strict=True)])


def source_of(root: Path, name: str) -> Path | None:
    """The file or folder with the masks of an image; None if there is none."""
    stem = file_stem(name)
    for suffix in (".json", ".npz", ".png"):
        if exists(path := root / f"{stem}{suffix}"):
            return path
    return root / stem if (root / stem).is_dir() and any((root / stem).glob("*.png")) else None


def _fault(root: Path, name: str, splits: Splits, index: int) -> str:
    data, source = splits.train, source_of(root, name)
    if source is None:
        return _missing(root, name)
    try:
        size, classes = _header(source)
    except UnreadableError as error:
        return str(error)
    except _BROKEN as error:
        return _broken(source, error)
    known = {*data.classes, ""}
    if unknown := next((one for one in classes if one not in known), ""):
        return (
            f"{shown(source)}: a mask of image {name!r} was prompted for the class {unknown!r}, which the data does "
            f"not have; its classes are {', '.join(data.classes)}. Correct the name, or leave the class out"
        )
    if size is not None and isinstance(data, KnowsSizes):
        photograph = data.size_of(index)
        sizes = [photograph, fitted(photograph, splits.max_side)]
        if size not in sizes:
            return _other_size(source, size, sizes)
    return ""


def _header(source: Path) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """Size of the masks, None if there are none, and the class of each; of a label map none is known yet."""
    if source.is_dir():
        files = sorted(source.glob("*.png"))
        sizes = {_png_size(path) for path in files}
        if len(sizes) > 1:
            raise ValueError(f"masks of several sizes, {_few(sizes)}")
        return next(iter(sizes)), ("",) * len(files)
    if source.suffix == ".png":
        return _png_size(source), ()
    if source.suffix == ".npz":
        shape, dtype = array_header(source, "masks")
        if len(shape) != 3 or dtype not in (np.dtype(np.bool_), np.dtype(np.uint8)):
            raise ValueError(f"masks {shape} of type {dtype}, not (M, H, W) of bool or uint8")
        names = read_arrays(source, (), ("classes",)).get("classes")
        if names is not None and names.dtype.kind != "U":
            raise ValueError(f"classes of type {names.dtype}, not names")
        classes = ("",) * shape[0] if names is None else tuple(str(one) for one in np.atleast_1d(names))
        if len(classes) != shape[0]:
            raise ValueError(f"{len(classes)} classes for {shape[0]} masks")
        return (shape[1], shape[2]), classes
    entries = _entries(source)
    sizes = {_rle_size(entry) for entry in entries}
    if len(sizes) > 1:
        raise ValueError(f"masks of several sizes, {_few(sizes)}")
    return next(iter(sizes), None), tuple(_class_of(entry) for entry in entries)


def _read(source: Path, size: tuple[int, int], classes: tuple[str, ...]) -> Stack | Partition:
    if source.is_dir():
        files = sorted(source.glob("*.png"))
        return Stack(size, classes, lambda index: _binary(files[index]))
    if source.suffix == ".png":
        return partition(_grey(source))
    if source.suffix == ".npz":
        masks: Bools = read_arrays(source, ("masks",))["masks"] != 0
        return Stack(size, classes, lambda index: masks[index])
    counts = [checked_counts(entry["segmentation"]["counts"], size) for entry in _entries(source)]
    return Stack(size, classes, lambda index: counts_to_mask(counts[index], size))


def _entries(source: Path) -> list[dict[str, Any]]:
    """The masks of a JSON file."""
    content = read_json(source)
    found = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError("no list of masks")
    return found


def _class_of(entry: dict[str, Any]) -> str:
    name = entry.get("class")
    if not isinstance(name, str | None):
        raise ValueError(f"a mask of class {name!r}, not a name")
    return name or ""


def _rle_size(entry: dict[str, Any]) -> tuple[int, int]:
    lengths = entry.get("segmentation")
    shape: Any = lengths.get("size") if isinstance(lengths, dict) else None
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(side) is int and side > 0 for side in shape)
    if not whole or shape[0] * shape[1] > MAX_PIXELS:
        raise ValueError("a mask without run lengths of a size [H, W]")
    return shape[0], shape[1]


def _png_size(path: Path) -> tuple[int, int]:
    image = read_png(path, decode=False)
    if image.mode not in ("1", "L", "P", "I;16", "I"):
        raise ValueError(f"{path.name} in mode {image.mode}, not 8- or 16-bit with one value a pixel")
    return image.height, image.width


def _grey(path: Path) -> NDArray[np.int64]:
    """Values of a PNG with one value a pixel, as stored: (H, W)."""
    return np.array(read_png(path)).astype(np.int64)


def _binary(path: Path) -> Bools:
    """Pixels above half of the range; of a palette or of 0 and 1, those above 0.

    Raises:
        InputError: there are values, but none above half of the range.
    """
    image: Image.Image = read_png(path)
    values = np.array(image)
    half = 32767 if image.mode in ("I;16", "I") else 127
    inside: Bools = values > (0 if image.mode in ("1", "P") or values.max(initial=0) <= 1 else half)
    if not inside.any() and values.any():
        raise InputError(_broken(path, ValueError(f"values up to {values.max()}, none of them above {half}")))
    return inside


def _few(sizes: set[tuple[int, int]]) -> str:
    return ", ".join(f"{height} x {width}" for height, width in sorted(sizes)[:3])


def _missing(root: Path, name: str) -> str:
    stem = file_stem(name)
    return (
        f"{shown(root)}: no masks of image {name!r}; expected {stem}.json, {stem}.npz, {stem}.png or a folder {stem} "
        "of PNGs; make them, or name another folder"
    )


def _other_size(source: Path, size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> str:
    wanted = " or ".join(dict.fromkeys(f"{height} x {width}" for height, width in sizes))
    came = f"{size[0]} x {size[1]}"
    return f"{shown(source)}: expected masks of {wanted} pixels, as their image, got {came}; make them again"


def _broken(source: Path, error: BaseException) -> str:
    return f"{shown(source)}: expected masks of one image, got {shown(first_line(error))}; write the file again"
