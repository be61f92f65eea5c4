"""Maps of another tool as seeds: CLIP-ES, SAM prompted with boxes or points, or any other.

A folder has, for each image with tags, one NumPy archive or one folder of PNGs::

    FOLDER/NAME.npz          classes (P,): names, or indices from 0 without background; maps (P, h, w): float or uint8
    FOLDER/NAME/CLASS.png    8-bit grey, 255 where the class is certain

NAME is the image's name in the dataset and CLASS the name of the class; characters that file systems do not allow are
written as in :func:`deft.artifacts.file_stem`. Maps cover the whole image at any resolution. No code in a file is
executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deft.artifacts import BROKEN_ARRAYS, array_header, file_stem, read_arrays
from deft.artifacts.contents import joined, whole
from deft.contracts import Dataset, DigestFiles, InputError, Sample, SeedMaps, Splits
from deft.engine.method import MethodContext
from deft.guards.opening import UnreadableError, exists
from deft.guards.pictures import read_png
from deft.seedmaps import STRIDE, grid
from deft.settings import place

SHOWN = 5
"""Number of faults that a message lists."""
_BROKEN = (*BROKEN_ARRAYS, IndexError, TypeError, SyntaxError)
"""Exceptions for broken archives."""


@dataclass(frozen=True)
class External:
    """Maps from a folder; a seed method, and a :class:`deft.contracts.ReadsFiles`."""

    folder: str = field(default="", metadata=place())
    """Folder of the maps; never written to."""
    normalise: bool = True
    """Set values below 0 to 0 and divide each map by its maximum; without it maps must be in [0, 1]."""

    @property
    def learning(self) -> None:
        """None: nothing is trained."""

    @property
    def remedy(self) -> str:
        """What makes better maps, for messages."""
        return "look at the maps in seeds.folder and make better ones"

    def check(self, splits: Splits) -> None:
        """Check the header of every file, and that there is a map for each tag of each image.

        A held-out split without any maps is skipped: its seeds are not scored.

        Raises:
            InputError: files are missing or cannot be used; the message lists the first ones.
        """
        root = self._root()
        faults = [fault for name, tags in _tagged(splits.train) for fault in _faults(root, name, tags, splits.train)]
        val = splits.val
        if val is not None and any(_source(root, name) for name, _ in _tagged(val)):
            faults += [fault for name, tags in _tagged(val) for fault in _faults(root, name, tags, val)]
        if faults:
            more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
            raise InputError("\n".join([*faults[:SHOWN], *more]))

    def fingerprint(self) -> str:
        """Digest of the name and the bytes of every archive and PNG below the folder; reads every file."""
        root = self._root()
        return _digest(root, [path for path in root.rglob("*") if path.suffix in (".npz", ".png")], whole)

    def fingerprint_of(self, names: Sequence[str], digests: DigestFiles) -> str:
        """Digest of the archives and PNGs of some images, by their names and bytes."""
        root = self._root()
        sources = [source for name in names if (source := _source(root, name)) is not None]
        files = [path for source in sources for path in (source.glob("*.png") if source.is_dir() else [source])]
        return _digest(root, files, digests)

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps | None]:
        """Function that returns the maps of an image for its tags; None for a held-out image without maps."""
        root, classes, needed = self._root(), context.data.classes, frozenset(context.data.names)

        def read(sample: Sample) -> SeedMaps | None:
            present = tuple(int(index) for index in np.flatnonzero(sample.labels))
            if present and sample.name not in needed and _source(root, sample.name) is None:
                return None
            return self(sample, classes)

        return read

    def __call__(self, sample: Sample, classes: tuple[str, ...]) -> SeedMaps:
        """Maps in [0, 1] of the image's labels, on the strided grid.

        Raises:
            InputError: a map is missing, broken, not finite, or outside [0, 1] with ``normalise`` off.
        """
        size = (sample.image.shape[0], sample.image.shape[1])
        present = tuple(int(index) for index in np.flatnonzero(sample.labels))
        if not present:
            return SeedMaps((), torch.zeros(0, *grid(size)), size)
        path, found = _read(self._root(), sample.name, present, classes)
        maps = [self._scaled(_on_grid(_values(array, path), size), path) for array in found]
        return SeedMaps(present, torch.stack(maps), size)

    def _scaled(self, values: Tensor, path: Path) -> Tensor:
        low, high = values.min().item(), values.max().item()
        if self.normalise:
            return values.clamp(min=0) / (high if high > 0 else 1.0)
        if low < 0 or high > 1:
            raise InputError(
                f"{path}: expected maps in 0 to 1, got {low:g} to {high:g}; scale them, or set seeds.normalise"
            )
        return values

    def _root(self) -> Path:
        root = Path(self.folder).expanduser()
        if not self.folder or not root.is_dir():
            raise InputError(
                f"seeds.folder: expected the folder of the maps, got {self.folder!r}; give --set seeds.folder=MAPS"
            )
        return root


def _digest(root: Path, files: Sequence[Path], digests: DigestFiles) -> str:
    ordered = sorted(files)
    names = [os.fsencode(path.relative_to(root)).hex() for path in ordered]
    return joined([f"{name} {one}" for name, one in zip(names, digests(ordered), strict=True)])


def _tagged(data: Dataset) -> list[tuple[str, tuple[int, ...]]]:
    """Name and class indices of every image that has tags."""
    return [
        (name, tuple(int(index) for index in np.flatnonzero(labels)))
        for name, labels in zip(data.names, data.labels, strict=True)
        if labels.any()
    ]


def _source(root: Path, name: str) -> Path | None:
    """The archive of an image, or its folder of PNGs; None if there is neither."""
    stem = file_stem(name)
    archive, pictures = root / f"{stem}.npz", root / stem
    return archive if exists(archive) else pictures if os.path.isdir(pictures) else None


def _picture(folder: Path, name: str) -> Path:
    return folder / f"{file_stem(name).replace('/', '%2F')}.png"


def _faults(root: Path, name: str, tags: tuple[int, ...], data: Dataset) -> list[str]:
    """Faults of the maps of one image that their headers reveal."""
    source = _source(root, name)
    if source is None:
        return [f"{root}: no maps of image {name!r}; expected {file_stem(name)}.npz or a folder {file_stem(name)}"]
    if source.is_dir():
        return [fault for k in tags if (fault := _picture_fault(_picture(source, data.classes[k]), name))]
    if (root / file_stem(name)).is_dir() and any((root / file_stem(name)).glob("*.png")):
        return [f"{source}: image {name!r} has an archive and a folder of PNGs; remove one of the two"]
    try:
        indices = _indices(read_arrays(source, ("classes",))["classes"], data.classes)
        shape, dtype = array_header(source, "maps")
    except UnreadableError as error:
        return [str(error)]
    except _BROKEN as error:
        return [f"{source}: expected arrays classes and maps, got {error}; write the file again"]
    if len(shape) != 3 or shape[0] != len(indices) or 0 in shape[1:]:
        return [f"{source}: expected maps ({len(indices)}, h, w), one for each class, got {tuple(shape)}"]
    if dtype.kind != "f" and dtype != np.uint8:
        return [f"{source}: expected maps of float or uint8, got {dtype}; convert them"]
    missing = [data.classes[k] for k in tags if k not in indices]
    return [f"{source}: image {name!r} is tagged {cls!r} but has no map for it; add one" for cls in missing]


def _picture_fault(path: Path, name: str) -> str:
    if not exists(path):
        return f"{path}: image {name!r} is tagged {path.stem!r} but has no map for it; add one"
    try:
        mode = read_png(path, decode=False).mode
    except UnreadableError as error:
        return str(error)
    return "" if mode == "L" else f"{path}: expected 8-bit grey, got mode {mode}; convert it"


def _indices(written: NDArray[np.generic], classes: tuple[str, ...]) -> list[int]:
    """Class indices from an array of names or indices."""
    if written.ndim != 1 or written.dtype.kind not in "iuU":
        raise ValueError(f"classes of shape {written.shape} and type {written.dtype}, not a list of names or indices")
    if written.dtype.kind == "U":
        unknown = [str(name) for name in written if str(name) not in classes]
        indices = [] if unknown else [classes.index(str(name)) for name in written]
    else:
        unknown = [str(index) for index in written if not 0 <= int(index) < len(classes)]
        indices = [] if unknown else [int(index) for index in written]
    if unknown:
        raise ValueError(f"{unknown[0]!r} among its classes; they are {', '.join(classes)}, or 0 to {len(classes) - 1}")
    if len(set(indices)) < len(indices):
        raise ValueError("a class twice")
    return indices


def _read(
    root: Path, name: str, present: tuple[int, ...], classes: tuple[str, ...]
) -> tuple[Path, list[NDArray[np.generic]]]:
    """The file or folder of an image, and its arrays (h, w) for the classes present."""
    source = _source(root, name)
    if source is None:
        raise InputError(f"{root}: no maps of image {name!r}; put them back and run again")
    try:
        if source.is_dir():
            return source, [np.array(read_png(_picture(source, classes[k]))) for k in present]
        file = read_arrays(source, ("classes", "maps"))
        indices, maps = _indices(file["classes"], classes), file["maps"]
        return source, [maps[indices.index(k)] for k in present]
    except UnreadableError:
        raise
    except _BROKEN as error:
        raise InputError(f"{source}: its maps cannot be read: {error}; write them again") from error


def _values(array: NDArray[np.generic], path: Path) -> Tensor:
    """Convert a map to floats (h, w); uint8 is scaled to 0..1."""
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{path}: expected maps (h, w), got shape {array.shape}; write them again")
    if array.dtype.kind != "f" and array.dtype != np.uint8:  # it was another file when it was checked
        raise InputError(f"{path}: expected maps of float or uint8, got {array.dtype}; convert them")
    values = torch.from_numpy(array.astype(np.float32))
    if not bool(values.isfinite().all()):
        raise InputError(f"{path}: expected finite values, got nan or infinity; write its maps again")
    return values / 255 if array.dtype == np.uint8 else values


def _on_grid(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample a map (h, w) of a whole image to its strided grid; a map of that size is not changed."""
    if tuple(values.shape) == grid(size):
        return values
    full = F.interpolate(values[None, None], size=size, mode="bilinear", align_corners=False, antialias=True)
    return full[0, 0, ::STRIDE, ::STRIDE]
