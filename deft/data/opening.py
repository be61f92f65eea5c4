"""From ``KIND:PATH``, or a Python file of the user, to splits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from deft.contracts import InputError, Splits
from deft.data.faults import Faults, nearest, refuse
from deft.data.from_file import EXAMPLE, own_data
from deft.data.places import HasPlaces

KINDS = ("folder", "voc", "coco", "demo")
OTHERS = f"one of {', '.join(KINDS)}, or a Python file of yours as in {EXAMPLE}"


def open_data(spec: str) -> Splits:
    """Open a dataset; names and labels are read, images are not decoded.

    Args:
        spec: ``folder:PATH``, ``voc:PATH``, ``coco:PATH`` or ``demo:``, the last two with their options, or
            ``FILE.py:NAME?options``, a class or function of a Python file, which is executed.

    Returns:
        Training images and, if it exists, a held-out split.

    Raises:
        InputError: the specification or the data is wrong; the message names file, line and remedy.

    >>> open_data("demo:train=2,val=0").train.classes
    ('cow', 'sheep', 'duck', 'boat', 'car', 'bus')
    """
    faults = Faults()
    splits = read_data(spec, faults)
    refuse(faults.all, spec)
    if splits is None:
        raise InputError(f"{spec}: nothing to read; `deft check {spec}` lists its faults")
    return splits


def read_data(spec: str, faults: Faults) -> Splits | None:
    """Open a dataset and collect the faults of its labels instead of stopping at the first.

    Args:
        spec: as in :func:`open_data`.
        faults: collects the faults of names and labels.

    Returns:
        The splits as far as they could be read, or None.

    Raises:
        InputError: the specification itself is wrong, or the folder is missing.
    """
    kind, colon, place = spec.partition(":")
    own = own_data(spec) if kind not in KINDS else None
    if own is not None:
        return own.open()
    if not colon or re.match(r"[A-Za-z]:[\\/]", spec):  # only a path, perhaps with a Windows drive
        guess = "voc" if (Path(spec).expanduser() / "JPEGImages").is_dir() else "folder"
        raise InputError(f"expected KIND:PATH with KIND {OTHERS}, got {spec!r}; write {guess}:{spec}")
    if kind not in KINDS:
        near = nearest(kind, KINDS)
        raise InputError(f"unknown kind of data {kind!r} in {spec!r}{near}; use {OTHERS}")
    if kind == "demo":
        from deft.data.demo.dataset import open_demo

        return open_demo(place)
    if not place:
        raise InputError(f"expected {kind}:PATH, got {spec!r}; give the folder after the colon")
    place, _, options = place.partition("?") if kind == "coco" else (place, "", "")
    path = Path(place).expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else f"does not exist (looked in {path.absolute().parent})"
        raise InputError(f"{spec}: expected a folder, {path} {what}; correct the path")
    try:
        if kind == "folder":
            from deft.data.layouts.folder import read_folder

            return read_folder(path, faults)
        if kind == "coco":
            from deft.data.layouts.coco import read_coco

            return read_coco(path, options, faults)
        from deft.data.layouts.voc import read_voc

        return read_voc(path, faults)
    except PermissionError as error:
        raise InputError(f"{error.filename}: no permission to read it; ask its owner or change permissions") from None


def places(splits: Splits, spec: str = "") -> Iterator[Path]:
    """Files and folders that a dataset is read from, which no result may lie in.

    Args:
        splits: the dataset.
        spec: its ``KIND:PATH``; empty if it was made in Python.
    """
    kind, _, place = spec.partition(":")
    if kind in ("folder", "voc", "coco"):
        yield Path(place.partition("?")[0] if kind == "coco" else place).expanduser()
    elif kind != "demo" and (own := own_data(spec)) is not None:
        yield own.file
    for part in (splits.train, splits.val):
        if isinstance(part, HasPlaces):
            yield from part.places
