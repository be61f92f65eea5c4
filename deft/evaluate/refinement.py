"""Whether refinement is likely to have made the masks worse, judged without ground truth.

Three witnesses, each asked of the seeds and of the refined maps, both cut at the run's thresholds: how much the cut
tells of a cell's colour (mutual information, :mod:`deft.thresholds.statistics`), how many pixels of the mask a dense
CRF leaves as they are, and how many are masked alike by the network that was trained on the refined masks. Refined
masks should do better in all three. The first is the one that told harm from gain in what was measured
(``benchmarks/thresholds/refinement.md``): masks that were worse than their seeds kept at most 0.87 of what the seeds
tell of the colours, masks that were better at least 0.89. The CRF's rose in every run, harmed or not; it and the
network's are shown and decide nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deft.artifacts import load_mask, load_seeds
from deft.contracts import Sample, SeedMaps
from deft.data.examples import without_truth
from deft.data.scaling import resized_mask
from deft.data.spread import spread
from deft.engine.infer import for_each
from deft.refine.crf import DenseCrf, dense_crf, unary_from_labels
from deft.seedmaps import mask_values, to_mask, upsample
from deft.stages.context import Run
from deft.stages.make import predict_some

IMAGES = 16
"""Images on which the CRF and the network are compared, evenly spread."""
KEPT = 0.88
"""Refinement counts as harmful if the refined masks keep less than this share of the seeds' colour information."""
CERTAINTY = 0.7
"""Probability that the CRF gives the labels of the mask it starts from, as for IRN's labels."""


def check_refinement(run: Run, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Seeds beside refined masks.

    Args:
        run: with its masks made.
        known: what this found for the same seeds and refined masks; of it, what the CRF says is not computed again.

    Returns:
        Empty without a refiner. Else ``harmed``, and for ``seeds`` and ``refined`` the witnesses: ``colours`` in nats,
        ``crf`` and, where a network was trained, ``network``, shares of equal pixels in [0, 1].
    """
    if run.pipeline.refine is None:
        return {}
    cuts = {"seeds": run.cuts("seeds").used, "refined": run.cuts("refined").used}
    found: dict[str, Any] = {}
    for stage, cut in cuts.items():
        statistics = run.statistics(stage)
        colours = float(statistics.information[round(100 * cut)]) / max(1, statistics.images)
        found[stage] = {"colours": round(colours, 5)}
    indices = spread(range(len(run.train)), IMAGES)
    paths = {"seeds": run.files("seeds", run.train, ".npz", "train"), "refined": run.map_files()}
    predicted = run.files("predictions", run.train, ".png", "train")
    if run.pipeline.segment is not None:
        predict_some(run, "train", indices)
    told = {stage: (known or {}).get(stage, {}).get("crf") for stage in cuts}
    smooth = any(share is None for share in told.values())
    equal: dict[tuple[str, str], int] = {}
    pixels, lock = 0, threading.Lock()

    def work(index: int, sample: Sample) -> None:
        nonlocal pixels
        one: dict[tuple[str, str], int] = {}
        for stage, cut in cuts.items():
            maps = load_seeds(paths[stage][index])
            mask = to_mask(upsample(maps), maps.classes, cut)
            if smooth:
                one[stage, "crf"] = int((mask == smoothed(mask, maps, sample.image)).sum())
            if run.pipeline.segment is not None:
                one[stage, "network"] = int((mask == resized_mask(load_mask(predicted[index]), maps.size)).sum())
        with lock:
            pixels += sample.image.shape[0] * sample.image.shape[1]
            for name, count in one.items():
                equal[name] = equal.get(name, 0) + count

    if smooth or run.pipeline.segment is not None:
        for_each(without_truth(run.train), indices, work, title="refinement beside seeds", on_device=False)
    if not smooth:
        found = {stage: {**values, "crf": told[stage]} for stage, values in found.items()}
    for (stage, witness), count in equal.items():
        found[stage][witness] = round(count / max(1, pixels), 5)
    return {"harmed": found["refined"]["colours"] < KEPT * found["seeds"]["colours"], **found}


def smoothed(mask: NDArray[np.uint8], maps: SeedMaps, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask after a dense CRF that begins from it.

    Args:
        mask: (H, W) of the classes of ``maps`` and background.
        maps: of the image.
        image: RGB, (H, W, 3).
    """
    if not maps.classes:
        return mask

    values = mask_values(maps.classes)
    places = torch.from_numpy(np.searchsorted(values, mask).astype(np.int64))
    belief = dense_crf(unary_from_labels(places, len(values), CERTAINTY), image, DenseCrf())
    result: NDArray[np.uint8] = values[belief.argmax(dim=0).numpy()]
    return result


def sentence(check: dict[str, Any]) -> str:
    """One warning; empty if nothing indicates harm."""
    if not check or not check["harmed"]:
        return ""
    return (
        "Refinement is likely to have harmed: its masks follow the colours of the photographs far less than the seeds "
        f"do ({check['refined']['colours']:.3f} against {check['seeds']['colours']:.3f} nats). Compare both in the "
        "pictures; to use the seeds as they are, run again with --set refine=none."
    )
