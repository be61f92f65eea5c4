"""From ``KIND:PATH``, or a Python file of the user, to splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from deft.contracts import InputError, Splits
from deft.data.faults import Faults, nearest, refuse
from deft.data.from_file import EXAMPLE, own_data
from deft.data.places import HasPlaces
from deft.guards.opening import UnreadableError

KINDS = (
    *("folder", "voc", "coco", "yolo", "labelme", "labelstudio", "cvat", "openimages", "imagefolder", "datasets"),
    "demo",
)
_ONE_FILE = {"yolo": (".yaml", ".yml"), "labelstudio": (".json",), "cvat": (".xml",)}
"""Kinds whose PATH may be a file with one of these suffixes instead of the folder that contains it."""
OTHERS = f"one of {', '.join(KINDS)}, or a Python file of yours as in {EXAMPLE}"


def open_data(spec: str) -> Splits:
    """Open a dataset; names and labels are read, images are not decoded.

    Args:
        spec: ``KIND:PATH`` with one of :data:`KINDS`, perhaps with ``?`` and options; ``demo:`` with its options; or
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
    kind = _known(kind)
    own = own_data(spec) if kind not in KINDS else None
    if own is not None:
        return own.open()
    if not colon or re.match(r"[A-Za-z]:[\\/]", spec):  # only a path, perhaps with a Windows drive
        guess = _guess(Path(spec).expanduser())
        raise InputError(f"expected KIND:PATH with KIND {OTHERS}, got {spec!r}; write {guess}:{spec}")
    if kind not in KINDS:
        near = nearest(kind, KINDS)
        raise InputError(f"unknown kind of data {kind!r} in {spec!r}{near}; use {OTHERS}")
    if kind == "demo":
        from deft.data.demo.dataset import open_demo

        return open_demo(place)
    if not place:
        raise InputError(f"expected {kind}:PATH, got {spec!r}; give the folder after the colon")
    place, options = _without_options(kind, place)
    path = Path(place).expanduser()
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() in _ONE_FILE.get(kind, ())):
        what = "is a file" if path.exists() else f"does not exist (looked in {path.absolute().parent})"
        raise InputError(f"{spec}: expected a folder, {path} {what}; correct the path")
    try:
        return _read(kind, path, options, faults)
    except UnreadableError as error:
        faults.add(error.path, None, error.what, error.remedy)
        return None
    except PermissionError as error:
        raise InputError(f"{error.filename}: no permission to read it; ask its owner or change permissions") from None


def _known(kind: str) -> str:
    """A kind as it is spelled here: ``label-studio`` and ``LabelStudio`` are ``labelstudio``."""
    plain = kind.replace("-", "").replace("_", "").casefold()
    return plain if plain in KINDS else kind


def _guess(path: Path) -> str:
    """The kind of a folder by what only this kind has."""
    signs = {
        "voc": "JPEGImages",
        "coco": "annotations/instances_*.json",
        "yolo": "data.yaml",
        "cvat": "annotations.xml",
        "datasets": "dataset_dict.json",
        "imagefolder": "train/metadata.*",
    }
    return next((kind for kind, sign in signs.items() if any(path.glob(sign))), "folder")


def _read(kind: str, path: Path, options: str, faults: Faults) -> Splits | None:
    if kind == "folder":
        from deft.data.layouts.folder import read_folder

        return read_folder(path, faults, options)
    if kind == "voc":
        from deft.data.layouts.voc import read_voc

        return read_voc(path, faults)
    return _exported(kind)(path, options, faults)


def _exported(kind: str) -> Callable[[Path, str, Faults], Splits | None]:
    """The reader of another tool's annotations; each is imported when it is used."""
    if kind == "coco":
        from deft.data.layouts.coco import read_coco

        return read_coco
    if kind == "yolo":
        from deft.data.layouts.yolo import read_yolo

        return read_yolo
    if kind == "labelme":
        from deft.data.layouts.labelme import read_labelme

        return read_labelme
    if kind == "labelstudio":
        from deft.data.layouts.label_studio import read_label_studio

        return read_label_studio
    if kind == "cvat":
        from deft.data.layouts.cvat import read_cvat

        return read_cvat
    if kind == "openimages":
        from deft.data.layouts.open_images import read_open_images

        return read_open_images
    if kind == "imagefolder":
        from deft.data.layouts.imagefolder import read_imagefolder

        return read_imagefolder
    from deft.data.layouts.saved_datasets import read_saved

    return read_saved


def _without_options(kind: str, place: str) -> tuple[str, str]:
    """Path and options; the path of a folder may itself contain a ``?``."""
    if kind == "voc" or (kind == "folder" and Path(place).expanduser().exists()):
        return place, ""
    if kind == "folder":
        path, _, options = place.rpartition("?") if "?" in place else (place, "", "")
    else:
        path, _, options = place.partition("?")
    return path, options


def places(splits: Splits, spec: str = "") -> Iterator[Path]:
    """Files and folders that a dataset is read from, which no result may lie in.

    Args:
        splits: the dataset.
        spec: its ``KIND:PATH``; empty if it was made in Python.
    """
    kind, _, place = spec.partition(":")
    kind = _known(kind)
    if kind in KINDS:
        if kind != "demo":
            yield Path(_without_options(kind, place)[0]).expanduser()
    elif (own := own_data(spec)) is not None:
        yield own.file
    for part in (splits.train, splits.val):
        if isinstance(part, HasPlaces):
            yield from part.places
