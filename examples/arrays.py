"""A custom dataset in one file: photographs and tags as arrays, the form of small datasets such as CIFAR.

    deft check 'examples/arrays.py:arrays?path=birds.npz'
    deft run irn_deft --data 'examples/arrays.py:arrays?path=birds.npz,held_out=0.25' --out runs/birds

The archive, written by ``numpy.savez``, contains ``images`` uint8 (N, H, W, 3), ``labels`` bool (N, K) and ``classes``,
K names; ``masks`` uint8 (N, H, W) are optional and used only for scores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deft import ImageDataset, InputError, Splits

NEEDED = ("images", "labels", "classes")


def arrays(path: Path, held_out: float = 0.2) -> Splits:
    """Function that ``--data`` names; its arguments are the options after the ``?``.

    Args:
        path: the archive.
        held_out: share of the images to hold out, taken from the end.
    """
    if not path.is_file() or not 0 <= held_out < 1:
        raise InputError(f"arrays: expected an archive and held_out from 0 to below 1, got {path} and {held_out}")
    with np.load(path) as archive:  # only arrays: pickled objects are refused
        content = {name: archive[name] for name in archive.files}
    if missing := [name for name in NEEDED if name not in content]:
        raise InputError(f"{path}: expected the arrays {', '.join(NEEDED)}, found no {missing[0]}")
    count = len(content["images"])
    learned = count - round(held_out * count)
    train = part(content, range(learned), path)
    return Splits(train, part(content, range(learned, count), path) if learned < count else None)


def part(content: dict[str, np.ndarray], indices: range, path: Path) -> ImageDataset:
    """Dataset of some of the images. ``image`` and ``mask`` are called from several threads, so they only read."""
    images, masks = content["images"], content.get("masks")
    return ImageDataset(
        classes=[str(name) for name in content["classes"]],
        labels=content["labels"][indices.start : indices.stop],
        image=lambda index: images[indices[index]],
        mask=None if masks is None else lambda index: masks[indices[index]],
        names=[f"{path.stem}_{index:05d}" for index in indices],
        files=[path],
    )
