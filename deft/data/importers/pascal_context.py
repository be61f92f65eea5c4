"""PASCAL-Context (Mottaghi et al., CVPR 2014) as the contexts of a ``voc:`` dataset.

Its release of 59 classes is a folder of PNGs named after VOC's images (0 for none of the classes, k for the k-th name)
and a list of names. Twenty of them are VOC's object classes, the others are contexts. Here objects become value 0,
contexts are renumbered, and pixels without a class become 255, because their content is unknown.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import atomic_write, save_mask
from deft.contracts import BACKGROUND, IGNORE, InputError, Progress
from deft.data.faults import Faults, refuse
from deft.data.files import image_files, relative
from deft.data.images import read_mask
from deft.data.layouts.name_lists import CLASSES, check_classes, class_name, read_names
from deft.guards.opening import exists, is_folder
from deft.guards.output import check_out, make_folder
from deft.guards.words import shown

_NUMBERED = re.compile(r"(\d+)(?:\s*:\s*|\s+)(\S.*)")
"""``1: aeroplane`` or ``1 aeroplane``."""
_ALIASES = {"table": "diningtable", "tv": "tvmonitor"}
"""Names of objects that differ from VOC's by more than spaces, in the form of :func:`_folded`."""
_WRITTEN = ("SegmentationContext", "context_labels.csv", "context_classes.txt")
"""Files that are written, in the order in which they are moved: ``voc:`` ignores the others until the last exists."""


@dataclass(frozen=True)
class ImportedContexts:
    """Summary of an import."""

    images: int
    """Number of masks written, each with a row in the table."""
    contexts: tuple[str, ...]
    objects: tuple[str, ...]
    """Names that are object classes of the dataset."""
    left_out: int
    """Number of masks whose images are not in ``JPEGImages``, if that folder exists."""


def import_contexts(
    masks: Path, names: Path, out: Path, classes: Sequence[str], progress: Progress | None = None
) -> ImportedContexts:
    """Write ``context_classes.txt``, ``context_labels.csv`` and ``SegmentationContext/`` as ``voc:`` reads them.

    All files are made in a hidden folder within ``out`` and moved at the end, so that a failure leaves nothing behind.

    Args:
        masks: folder of grey or palette PNGs, each named after its image.
        names: text file, one name per line, with or without its number; the k-th is value k in the masks.
        out: folder to write into, such as a ``voc:`` folder; created if missing.
        classes: object classes of the dataset; their pixels become value 0.
        progress: called with the number of masks done and their total.

    Returns:
        A summary of what was written.

    Raises:
        InputError: an input cannot be used, or an output already exists.
    """
    listed = read_context_names(names)
    known = {_folded(name) for name in classes}
    objects = tuple(name for name in listed if {_folded(name), _ALIASES.get(_folded(name))} & known)
    contexts = tuple(name for name in listed if name not in objects)
    if not contexts:
        what = f"expected names besides the object classes, got {len(listed)} object classes only"
        raise InputError(f"{names}: {what}; give the list of all classes of the masks")
    values = _new_values(listed, contexts)
    check_out(out / _WRITTEN[0], [masks, names], "OUT")
    files = _pngs(masks)
    chosen = _with_images(files, out / "JPEGImages", masks)
    for name in _WRITTEN:
        _refuse_existing(out / name)
    make_folder(out, "OUT")
    try:
        staging = tempfile.TemporaryDirectory(prefix=".part-", dir=out)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        what = f"expected a writable folder ({error.strerror})"
        raise InputError(f"{out}: {what}; name another and copy its files into the VOC folder") from None
    with staging as folder:
        made = Path(folder)
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["image", "labels"])
        for done, (file, images) in enumerate(chosen.items(), 1):
            mask = _remapped(file, values, names, len(listed))
            save_mask(made / _WRITTEN[0] / f"{file.stem}.png", mask)
            for image in images:
                writer.writerow([image, _cell(mask, contexts)])
            if progress is not None:
                progress(done, len(chosen))
        atomic_write(made / _WRITTEN[1], table.getvalue().encode())
        atomic_write(made / _WRITTEN[2], "".join(f"{name}\n" for name in contexts).encode())
        for name in _WRITTEN:
            _refuse_existing(out / name)
            os.rename(made / name, out / name)
    return ImportedContexts(len(chosen), contexts, objects, len(files) - len(chosen))


def read_context_names(path: Path) -> tuple[str, ...]:
    """Names of the values 1, 2, ... of the masks.

    Lines are ``1: aeroplane``, ``1 aeroplane`` or ``aeroplane``, all in the same form; a first line ``background`` or
    ``0: background`` names value 0 and is left out.

    Raises:
        InputError: the file is not such a list, or its numbers are not 1, 2, ... in order.
    """
    faults = Faults()
    lines = read_names(path, faults, most=CLASSES)
    matches = [_NUMBERED.fullmatch(text) for _, text in lines]
    numbered = bool(matches) and matches[0] is not None
    start = _start(lines[0][1], matches[0]) if lines else 1
    found: dict[str, int] = {}
    for place, ((line, text), match) in enumerate(zip(lines, matches, strict=True), start):
        if (match is not None) != numbered:
            kind = "'NUMBER: NAME' as in the first line" if numbered else "only a name as in the first line"
            faults.add(path, line, f"expected {kind}, got {text!r}", "write all lines in the same form")
            continue
        if match is not None and int(match[1]) != place:
            faults.add(path, line, f"expected number {place}, got {text!r}", "number the names 1, 2, ... in order")
        name = class_name(match[2] if match else text)
        if ";" in name:
            faults.add(path, line, f"{name!r} contains ';', which separates labels", "write the name without it")
        if place and found.setdefault(name, line) != line:
            faults.add(path, line, f"{name!r} is already in line {found[name]}", "give each value its own name")
    if not found and not faults.errors:
        faults.add(path, None, "expected names of the values 1, 2, ..., found none", "list one name per line")
    check_classes(tuple(found), list(found.values()), path, faults)
    refuse(faults.errors[:5], str(path))
    return tuple(found)


def _start(text: str, match: re.Match[str] | None) -> int:
    """Value of the first line: 0 for background, else 1."""
    name = match[2] if match else text
    return 0 if name.strip().casefold() == "background" and (match is None or int(match[1]) == 0) else 1


def _folded(name: str) -> str:
    """Normal form of names such as ``potted plant``, ``PottedPlant`` and ``tv/monitor``."""
    return re.sub(r"[\s/_-]", "", name.casefold())


def _new_values(listed: tuple[str, ...], contexts: tuple[str, ...]) -> NDArray[np.int16]:
    """New value of each of the 256 values, (256,); -1 for values that are not allowed in a mask."""
    values = np.full(256, -1, dtype=np.int16)
    values[BACKGROUND] = values[IGNORE] = IGNORE
    for value, name in enumerate(listed, 1):
        values[value] = contexts.index(name) + 1 if name in contexts else 0
    return values


def _pngs(masks: Path) -> list[Path]:
    """The PNGs directly in a folder, sorted by name."""
    if not os.path.isdir(masks):
        what = "a file" if exists(masks) else "nothing"
        raise InputError(f"{masks}: expected a folder of PNGs, got {what}; name the folder of the unpacked release")
    try:
        listed = sorted(masks.iterdir())
    except OSError as error:
        raise InputError(f"{shown(masks)}: cannot be read ({error.strerror}); change permissions") from None
    inside = [path for path in listed if not path.is_dir() and not path.name.startswith(".")]
    files = [path for path in inside if path.suffix.lower() == ".png"]
    if not files:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in inside)
        came = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(3)) or "no file"
        raise InputError(
            f"{masks}: expected PNGs named after VOC's images, got {came}; "
            "name the folder that directly contains the masks of the 59 classes"
        )
    stem, count = Counter(path.stem for path in files).most_common(1)[0]
    if count > 1:
        raise InputError(f"{masks}: expected one PNG for each image, got {count} for {stem!r}; remove the wrong one")
    return files


def _with_images(files: list[Path], folder: Path, masks: Path) -> dict[Path, tuple[str, ...]]:
    """The image names of each mask: its own name if there is no folder of images yet, else the names in the folder."""
    stems = {file: relative(file, masks)[: -len(file.suffix)] for file in files}
    if not is_folder(folder):
        return {file: (stem,) for file, stem in stems.items()}
    images = image_files(folder)
    found = {file: tuple(images.names[index] for index in images.find(stem)) for file, stem in stems.items()}
    kept = {file: names for file, names in found.items() if names}
    if not kept:
        first = stems[files[0]]
        raise InputError(
            f"{masks}: expected PNGs named after the images in {folder}, got {len(files)} others, e.g. {first!r}; "
            "name the folder with the masks of these images"
        )
    return kept


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise InputError(f"{path}: already exists and is not overwritten; move it away or name another folder")


def _remapped(file: Path, values: NDArray[np.int16], names: Path, count: int) -> NDArray[np.uint8]:
    """A mask with the new values, (H, W): 0 object, j + 1 context j, 255 unknown."""
    mask = values[read_mask(file)]
    if mask.min(initial=0) < 0:
        wrong = np.unique(read_mask(file)[mask < 0])
        raise InputError(
            f"{file}: expected values 0 to {count}, one for each name in {names}, and 255, got "
            f"{', '.join(str(value) for value in wrong[:5])}; give the list of names that belongs to these masks"
        )
    return mask.astype(np.uint8)


def _cell(mask: NDArray[np.uint8], contexts: tuple[str, ...]) -> str:
    """The contexts in a mask, as a cell of the table."""
    counts = np.bincount(mask.ravel(), minlength=256)
    shown = [name for value, name in enumerate(contexts, 1) if counts[value]]
    return ";".join(shown) + (";" if any(" " in name for name in shown) else "")
