"""Scores on reviewed images that taught no network of masks: the only truth of a dataset without masks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import load_mask
from deft.contracts import Dataset, Sample
from deft.engine.infer import for_each
from deft.metrics import Confusion
from deft.stages.context import Run
from deft.stages.make import predict_some


def score_reviewed(run: Run) -> dict[str, Any]:
    """Scores on the reviewed masks that are held out, and how many there are.

    Args:
        run: with every stage made.

    Returns:
        ``taught``, ``held out`` and ``rejected``, numbers of images; ``masks``, of the pseudo-masks of held-out
        training images, and ``segmentation``, of the network's masks of these and of the held-out split, each with
        ``miou``, ``iou`` and ``images``, if there are any. Empty if nothing was reviewed.
    """
    found = run.corrected
    if not (found.taught or found.held_out or found.val or found.rejected):
        return {}
    numbers = {"taught": len(found.taught), "held out": len(found.held_out) + len(found.val)}
    scores: dict[str, Any] = {**numbers, "rejected": len(found.rejected)}
    own = [("train", run.train, sorted(run.held_out))]
    if own[0][2]:
        scores["masks"] = _scored(run, own, {"train": run.files("masks", run.train, ".png")})
    if run.pipeline.segment is None:
        return scores
    if run.val is not None:
        own.append(("val", run.val, [index for index, name in enumerate(run.val.names) if name in found.val]))
    predict_some(run, "train", own[0][2])
    paths = {part: run.files("predictions", data, ".png", part) for part, data, _ in own}
    if any(indices for _, _, indices in own):
        scores["segmentation"] = _scored(run, own, paths)
    return scores


def _scored(run: Run, parts: list[tuple[str, Dataset, list[int]]], masks: dict[str, list[Path]]) -> dict[str, Any]:
    """Dataset IoU of stored masks of some images of each part."""
    total, lock = Confusion(len(run.train.classes)), threading.Lock()
    for part, data, indices in parts:

        def work(index: int, sample: Sample, paths: list[Path] = masks[part]) -> None:
            one = Confusion(len(run.train.classes))
            one.update(load_mask(paths[index]), load_mask(run.corrected.mask_file(sample.name)))
            nonlocal total
            with lock:
                total = total + one

        for_each(data, indices, work, title="scoring reviewed masks", on_device=False, read=False)
    return {"miou": total.miou(), "iou": _numbers(total.iou()), "images": sum(len(rows) for _, _, rows in parts)}


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 5) for value in values]


def remark(scores: dict[str, Any]) -> str:
    """What of a review was learned and what is scored, for the page; empty if nothing was reviewed."""
    found = scores.get("reviewed", {})
    if not found:
        return ""
    return (
        f"Reviewed images: {found['taught']} taught the networks with their masks and are scored nowhere, "
        f"{found['held out']} are held out (the scores named \u201creviewed\u201d are of these alone), and "
        f"{found['rejected']} were rejected and teach nothing. All other scores are of the dataset's own masks."
    )
