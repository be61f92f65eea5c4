"""What is measured of every training image for suggestions, kept in ``RUN/review/suggest.npz``."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import BROKEN_ARRAYS, atomic_write, load_mask, load_seeds, read_arrays
from deft.artifacts.review import FOLDER, MEASURED
from deft.contracts import InputError, Sample
from deft.engine.infer import for_each
from deft.guards.opening import exists
from deft.guards.output import make_folder, refuse_link
from deft.guards.words import shown
from deft.settings import key_of
from deft.stages.context import Run
from deft.suggest.doubt import doubt
from deft.suggest.network import network_masks, network_stage

VERSION = 1


@dataclass(frozen=True, eq=False)
class Measured:
    """Of all N training images; shares as in :class:`deft.suggest.doubt.Doubt`."""

    area: NDArray[np.float32]
    """(N, K + 1)."""
    wrong: NDArray[np.float32]
    """(N, K + 1)."""
    seen: NDArray[np.float32]
    """(N, K + 1)."""
    disagree: NDArray[np.float32]
    """(N,)."""
    close: NDArray[np.float32]
    """(N,)."""
    typical: NDArray[np.float32]
    """Mean probability that the classifier gives to the tags of an image, (N,); 1 without tags or classifier."""
    network: bool
    """Whether there is a network."""


def measured(run: Run) -> Measured:
    """The measurements of a run, made again only if its maps, its threshold or its network are others.

    Raises:
        InputError: the run has no pseudo-masks yet.
    """
    name = "seeds" if run.pipeline.refine is None else "refined"
    masks = run.out.path / "masks" / "stage.json"
    if not exists(masks) or not run.stored("masks").done:
        raise InputError(
            f"{shown(run.out.path)}: expected a run with pseudo-masks, found none; finish it with the command it was "
            "begun with"
        )
    stage = network_stage(run)
    cut = run.mask_threshold
    key = key_of("suggest", (VERSION, cut), run.stored(name).key, "" if stage is None else stage.key)
    path = run.out.path / FOLDER / MEASURED
    kept = _kept(path, key, len(run.train), len(run.train.classes))
    if kept is not None:
        return kept
    predictions = None if stage is None else network_masks(run, stage)
    found = _measure(run, cut, predictions)
    refuse_link(path.parent)
    make_folder(path.parent, "review")
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {each.name: np.asarray(getattr(found, each.name)) for each in fields(found)}
    np.savez_compressed(buffer, **arrays, made_by=np.array(key))
    atomic_write(path, buffer.getvalue())
    return found


def _measure(run: Run, cut: float, predictions: list[Path] | None) -> Measured:
    data, maps = run.train, run.map_files()
    count, classes = len(data), len(data.classes)
    by_class = [np.zeros((count, classes + 1), dtype=np.float32) for _ in range(3)]
    area, wrong, seen = by_class
    disagree, close = np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.float32)
    typical = np.ones(count, dtype=np.float32)

    def work(index: int, sample: Sample) -> None:
        stored = load_seeds(maps[index])
        prediction = None if predictions is None else load_mask(predictions[index])
        found = doubt(stored.maps.numpy(), stored.classes, cut, classes, prediction)
        area[index], wrong[index], seen[index] = found.area, found.wrong, found.seen
        disagree[index], close[index] = found.disagree, found.close
        tags = np.flatnonzero(sample.labels)
        if len(stored.scores) == classes and len(tags):
            typical[index] = np.mean([stored.scores[k] for k in tags])

    for_each(data, range(count), work, title="comparing masks", on_device=False, read=False)
    return Measured(area, wrong, seen, disagree, close, typical, predictions is not None)


def _kept(path: Path, key: str, count: int, classes: int) -> Measured | None:
    """The measurements in a file; None if there are none, or of something else."""
    if not exists(path):
        return None
    names = [each.name for each in fields(Measured)]
    try:
        arrays = read_arrays(path, ["made_by", *names])
    except BROKEN_ARRAYS:
        return None
    shapes = {name: (count, classes + 1) if name in ("area", "wrong", "seen") else (count,) for name in names[:-1]}
    if str(arrays["made_by"]) != key or arrays["network"].shape != () or arrays["network"].dtype != np.bool_:
        return None
    if any(arrays[name].shape != shape or arrays[name].dtype != np.float32 for name, shape in shapes.items()):
        return None
    if not all(np.isfinite(arrays[name]).all() for name in shapes):
        return None
    return Measured(**{name: arrays[name] for name in shapes}, network=bool(arrays["network"]))
