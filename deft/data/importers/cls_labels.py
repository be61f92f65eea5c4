"""``cls_labels.npy``, the tag file that repositories of this field share, read without unpickling.

The file is a pickled dict ``{image: float array (K,)}``; a key is a name, or a number made from it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from deft.contracts import InputError
from deft.data.importers.pickles import PickledArray, Refused, array_state, as_dict, as_list, walk
from deft.guards.opening import UnreadableError, exists, read_regular

MAX_BYTES = 256 * 1024 * 1024
"""Largest file that is read; VOC's has 2 MB."""


def read_cls_labels(path: Path) -> dict[str | int, NDArray[np.bool_]]:
    """Labels by image.

    Args:
        path: an ``.npy`` file with a pickled dict from str or int to a number array (K,), as ``numpy.save`` writes it
            under Python 2 or 3.

    Returns:
        Multi-hot arrays (K,), all of one length, in the order of the file.

    Raises:
        InputError: the file is damaged, or contains anything else (for instance code).
    """
    remedy = "export it as image_labels.csv (header image,labels) on a machine where you trust it"
    try:
        return _table(walk(_pickled(read_regular(path, MAX_BYTES))))
    except UnreadableError:
        raise
    except Refused as error:
        raise InputError(f"{path}: expected a dict of image to label array, {error}; {remedy}") from None
    except Exception as error:  # hostile bytes may raise any exception, and each means "not readable"
        if isinstance(error, MemoryError):
            raise
        raise InputError(f"{path}: damaged or truncated ({type(error).__name__}: {error}); {remedy}") from None


def import_cls_labels(source: Path, table: Path, classes: Sequence[str]) -> int:
    """Write the labels of a ``cls_labels.npy`` as a table with header ``image,labels``.

    Args:
        source: the ``.npy`` file.
        table: the CSV to write; must not exist.
        classes: names of the K entries of each array, in order.

    Returns:
        Number of images written.

    Raises:
        InputError: ``source`` cannot be read, ``table`` exists, or the arrays and ``classes`` differ in length.
    """
    from deft.artifacts import atomic_write

    if exists(table):
        raise InputError(f"{table}: already exists and is not overwritten; choose another name")
    labels = read_cls_labels(source)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "labels"])
    for key, row in labels.items():
        if len(row) != len(classes):
            raise InputError(
                f"{source}: expected {len(classes)} labels, got {len(row)} for {key!r}; give the classes of that file"
            )
        tags = [name for name, present in zip(classes, row, strict=True) if present]
        writer.writerow([voc_name(key), ";".join(tags) + (";" if any(" " in tag for tag in tags) else "")])
    atomic_write(table, text.getvalue().encode())
    return len(labels)


def voc_name(key: str | int) -> str:
    """Image name of a key: some repositories store ``2007_000032`` as the number 2007000032."""
    text = str(key)
    return f"{text[:4]}_{text[4:]}" if isinstance(key, int) and len(text) == 10 else text


def _pickled(data: bytes) -> bytes:
    """The pickle after the header of an ``.npy`` file that holds one object."""
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise Refused(f"got .npy version {version}")
    shape, _, dtype = read(stream)
    if not dtype.hasobject or shape != ():
        raise Refused(f"got an array {shape} of {dtype}")
    return data[stream.tell() :]


def _table(root: object) -> dict[str | int, NDArray[np.bool_]]:
    if isinstance(root, PickledArray):  # the zero-dimensional object array around the dict
        shape, dtype, values = array_state(root)
        items = as_list(values)
        if shape != () or not dtype.code.startswith("O") or len(items) != 1:
            raise Refused(f"got an object array {shape}")
        root = items[0]
    labels: dict[str | int, NDArray[np.bool_]] = {}
    lengths: set[int] = set()
    for key, value in as_dict(root).items():
        if not isinstance(value, PickledArray):
            raise Refused(f"got {type(value).__name__} for {key!r}")
        shape, dtype, data = array_state(value)
        if not re.fullmatch("[fiub][1248]", dtype.code) or dtype.order not in "<>=|" or len(shape) != 1:
            raise Refused(f"got an array {shape} of {dtype.code!r} for {key!r}")
        raw = data.encode("latin-1") if isinstance(data, str) else data  # Python 2 wrote bytes as text
        if not isinstance(raw, bytes):
            raise Refused(f"got no numbers for {key!r}")
        numbers = np.frombuffer(raw, dtype=np.dtype(dtype.order + dtype.code))
        if numbers.shape != shape or not np.isin(numbers, (0, 1)).all():
            raise Refused(f"got values other than 0 and 1 for {key!r}")
        labels[key] = numbers.astype(np.bool_)
        lengths.add(len(numbers))
    if len(lengths) != 1:
        raise Refused("got no image" if not lengths else f"got arrays of {sorted(lengths)[:3]} entries")
    return labels
