"""The maps that a run has stored of its images, and masks made from them at any threshold.

A mask at the run's own threshold is the run's own mask, because it is made by the same function from the same file
(:func:`deft.seedmaps.full_mask`).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import HELD_OUT_SEEDS, file_stem, load_seeds
from deft.artifacts.folder import read_run
from deft.contracts import InputError, SeedMaps
from deft.export.picture import TRAIN
from deft.export.source import Item, Source
from deft.guards.opening import exists
from deft.guards.words import shown
from deft.seedmaps import full_mask, grid

REFINED, SEEDS = KINDS = ("refined", "seeds")
FINAL = "final"
"""The maps that the run's pseudo-masks are made from: refined ones, or seeds if there is no refiner."""


def map_file(source: Source, kind: str, item: Item) -> Path | None:
    """The file of an image's maps; None if there is none.

    Args:
        source: the run.
        kind: ``refined``, ``seeds`` or ``final``.
        item: the image.
    """
    if kind == FINAL:
        kind = final(source)
        if item.part != TRAIN:
            return None
    stage = source.stage(HELD_OUT_SEEDS if kind == SEEDS and item.part != TRAIN else kind)
    if stage is None or (kind == REFINED and item.part != TRAIN):
        return None
    inside = item.part if kind == SEEDS and item.part == TRAIN else ""
    path = stage.folder / inside / f"{file_stem(item.name)}.npz"
    return path if exists(path) else None


def final(source: Source) -> str:
    """Which maps the run's pseudo-masks are made from."""
    return SEEDS if source.stage(REFINED) is None else REFINED


def own_threshold(source: Source, kind: str = FINAL) -> float | None:
    """The background threshold that the run has used for its maps; None if it has none, or has not recorded it."""
    thresholds = read_run(source.folder).get("thresholds")
    known = thresholds.get(final(source) if kind == FINAL else kind) if isinstance(thresholds, dict) else None
    value = known.get("threshold") if isinstance(known, dict) else None
    return float(value) if isinstance(value, int | float) and 0 <= value < 1 else None


def maps_of(source: Source, kind: str, item: Item) -> SeedMaps:
    """The maps of an image.

    Raises:
        InputError: there are none, or their file is damaged.
    """
    path = map_file(source, kind, item)
    if path is None:
        raise InputError(f"{shown(item.name)!r} has no {kind} maps; choose another layer")
    found = load_seeds(path)
    classes, (rows, columns) = len(source.classes), grid(found.size)
    if found.maps.shape[1:] != (rows, columns) or any(not 0 <= k < classes for k in found.classes):
        raise InputError(f"{shown(path)}: expected maps of the run's classes; repeat the deft run command")
    return found


def mask_at(source: Source, item: Item, threshold: float, kind: str = FINAL) -> NDArray[np.uint8]:
    """The mask (H, W) that a run makes of an image at a background threshold.

    Args:
        source: the run.
        item: the image.
        threshold: in [0, 1).
        kind: of the maps.

    Raises:
        InputError: as :func:`maps_of`.
    """
    return full_mask(maps_of(source, kind, item), threshold)


def packed(maps: SeedMaps) -> bytes:
    """Maps for the page: uint32 P, h, w, H, W, then P mask values as uint32, then float32 (P, h, w), little-endian."""
    planes, rows, columns = maps.maps.shape
    values = [k + 1 for k in maps.classes]
    head = struct.pack(f"<{5 + planes}I", planes, rows, columns, *maps.size, *values)
    return head + maps.maps.numpy().astype("<f4").tobytes()
