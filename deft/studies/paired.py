"""Counts of each image of a run, for the significance of differences between systems (:mod:`deft.metrics.paired`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deft.artifacts import load_mask, load_seeds
from deft.contracts import Dataset, Sample
from deft.engine.infer import for_each
from deft.evaluate.stored import read_scores
from deft.metrics.paired import Counts, PairedDifference, image_counts, paired_bootstrap
from deft.seedmaps import full_mask
from deft.stages.context import Run
from deft.stages.truth import usable_truth

RECORD = "study.json"
"""Scores of a run together with the counts of its images, in its folder."""
COUNTED = "counted"
"""Key of the counts in the record."""


def counted(run: Run) -> dict[str, Any]:
    """The scores of a run and the counts of its scored images at the thresholds that it used.

    Counts are stored by what was scored (``seeds`` and ``masks`` of the training images, ``network`` of the held-out
    ones), by image and by the index of each class that occurs, background first: ``[intersection, union]``.
    """
    seeds, masks = run.files("seeds", run.train, ".npz", "train"), run.files("masks", run.train, ".png")
    cut = run.cuts("seeds").used

    def seed_mask(index: int) -> Any:
        return full_mask(load_seeds(seeds[index]), cut)

    found = {"seeds": _counts(run.train, seed_mask), "masks": _counts(run.train, lambda index: load_mask(masks[index]))}
    if run.pipeline.segment is not None and run.val is not None:
        predictions = run.files("predictions", run.val, ".png", "val")
        found["network"] = _counts(run.val, lambda index: load_mask(predictions[index]))
    return {**read_scores(run.out.path), COUNTED: found}


def significance(
    first: Mapping[int, Any], second: Mapping[int, Any], seeds: Sequence[int], what: str
) -> PairedDifference | None:
    """The difference between two systems; None if their records do not count the same images.

    Args:
        first: records of a system, by seed.
        second: records of the system that it is compared with.
        seeds: seeds of both.
        what: ``seeds``, ``masks`` or ``network``.
    """
    one, other = ([side[seed].get(COUNTED, {}).get(what, {}) for seed in seeds] for side in (first, second))
    names = sorted(one[0])
    if not names or any(sorted(images) != names for images in (*one, *other)):
        return None
    classes = len(first[seeds[0]]["classes"])
    return paired_bootstrap(_dense(one, names, classes), _dense(other, names, classes))


def _counts(data: Dataset, predict: Callable[[int], Any]) -> dict[str, dict[str, list[int]]]:
    found, lock = {}, threading.Lock()

    def work(index: int, sample: Sample) -> None:
        if sample.mask is None:
            return
        counts = image_counts(predict(index), sample.mask, len(data.classes))
        sparse = {str(k): [int(hits), int(union)] for k, (hits, union) in enumerate(counts) if union}
        with lock:
            found[sample.name] = sparse

    scored = [int(index) for index in np.flatnonzero(data.scored)]
    for_each(usable_truth(data), scored, work, title="counting images", on_device=False)
    return dict(sorted(found.items()))


def _dense(runs: Sequence[Mapping[str, Mapping[str, Sequence[int]]]], names: Sequence[str], classes: int) -> Counts:
    """Counts (S, N, K + 1, 2) of the runs of S seeds."""
    dense = np.zeros((len(runs), len(names), classes + 1, 2), dtype=np.int64)
    for seed, images in enumerate(runs):
        for row, name in enumerate(names):
            for k, pair in images[name].items():
                dense[seed, row, int(k)] = pair
    return dense
