"""Scores of a run: everything that can be measured with ground truth, and coverage where there is none.

A threshold is set as a number (``fixed``), chosen from maps and photographs without masks (``auto``), chosen on a few
drawn masks (``tuned``), or swept on the very truth that is scored (``swept``); they are kept under different names, and
``used`` says which of the first three the masks are made at. Where the training split's best threshold is used on the
held-out split, it says so. Images that thresholds were tuned on, or whose reviewed masks taught, are not scored.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import HELD_OUT_SEEDS, load_mask, load_seeds, read_json, read_run, write_json
from deft.artifacts.record import stage_key
from deft.contracts import Dataset, InputError, Sample
from deft.data.examples import without_truth
from deft.data.faults import counted
from deft.engine.infer import for_each
from deft.engine.method import OpenLabels, learning
from deft.evaluate.doubtful import doubtful_tags
from deft.evaluate.precision import compare, sentence
from deft.evaluate.refinement import check_refinement
from deft.evaluate.refinement import sentence as harm
from deft.evaluate.reviewed import score_reviewed
from deft.evaluate.stored import RECORD, read_scores
from deft.guards.opening import exists
from deft.guards.words import shown
from deft.metrics import THRESHOLDS, Confusion, Coverage, ThresholdSweep, average_precision
from deft.refine.psa import Psa, alpha_of
from deft.seedmaps import enlarged, strongest, to_mask, upsample
from deft.settings import fields_of
from deft.stages.context import Run
from deft.stages.truth import usable_truth
from deft.thresholds import AUTO, Cuts, MapStatistics, read_tuned

Scores = dict[str, Any]
"""What ``scores.json`` holds; fractions in [0, 1], null where a class does not occur."""


def evaluate(run: Run) -> Scores:
    """Score every stage and write ``scores.json``."""
    path = run.out.path / RECORD
    key = [run.out.path / name / "stage.json" for name in _stages(run)]
    if exists(run.out.path / HELD_OUT_SEEDS / "stage.json"):  # runs of earlier versions have none
        key.append(run.out.path / HELD_OUT_SEEDS / "stage.json")
    tuned = read_tuned(run.out.path)
    made_of = [stage_key(file) for file in key] + ([] if tuned is None else list(tuned.images))
    made_of += run.corrected.scores_key
    old, truth = _stored(path), run.truth_key
    if old.get("made_of") == made_of and old.get("truth") == truth and not old.get("left out"):
        return old
    scores: Scores = {"made_of": made_of, "truth": truth, "classes": list(run.train.classes)}
    left_out: dict[str, str] = {}
    refined = run.map_files() if run.pipeline.refine is not None else None
    seeds = {part: run.files("seeds", data, ".npz", part) for part, data in run.parts()}
    cuts = run.cuts("seeds")
    unseen = _unseen(run)
    known = usable_truth(run.train, left_out)
    masks = score_masks(known, run.files("masks", run.train, ".png"), unseen)
    if masks["images"]:
        train: Scores = {"seeds": sweep(known, seeds["train"], cuts, members=unseen)}
        if refined is not None:
            train["masks"] = sweep(known, refined, run.cuts("refined"), members=unseen)
        train.setdefault("masks", train["seeds"])
        scores["train"] = {**train, "images": masks["images"]}
    else:
        scores["coverage"] = coverage(run, seeds["train"], refined or seeds["train"])
    if run.val is not None:
        scores["val"] = _held_out(run, usable_truth(run.val, left_out), seeds["val"], scores, cuts)
    if reviewed := score_reviewed(run):
        scores["reviewed"] = reviewed
    if left_out:
        scores["left out"] = dict(sorted(left_out.items()))
        print(f"warning: {left_out_of(scores)}", file=sys.stderr)
    scores["thresholds"] = _thresholds(run)
    record = read_run(run.out.path)
    write_json(run.out.path / "run.json", record | {"thresholds": scores["thresholds"]})
    parts = scores["parts"] = _parts(run, truth)
    hold = {name for name, key in parts.items() if old.get("parts", {}).get(name) == key}
    if refinement := check_refinement(run, old.get("refinement", {}) if "refinement" in hold else {}):
        scores["refinement"] = refinement
        if refinement["harmed"] and "train" not in scores:
            print(f"warning: {harm(refinement)}", file=sys.stderr)
    if doubtful := old.get("doubtful", {}) if "doubtful" in hold else doubtful_tags(run):
        scores["doubtful"] = doubtful
    if precision := compare(run, old.get("precision", {}) if "precision" in hold else {}):
        scores["precision"] = precision
        print(sentence(precision), file=sys.stderr)
    write_json(path, scores)
    return scores


def left_out_of(scores: Scores) -> str:
    """One remark on masks that could not be used; empty if there are none."""
    found = scores.get("left out", {})
    if not found:
        return ""
    name, wrong = next(iter(found.items()))
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f"{counted(len(found), 'image is', 'images are')} not scored, because the mask cannot be used: {shown(name)} "
        f"({shown(wrong)}){more}; correct the mask and repeat the command, which only scores again"
    )


def _stored(path: Path) -> Scores:
    """The scores of an earlier command; empty if there are none, or damaged ones, which are measured again."""
    if not exists(path):
        return {}
    try:
        return read_scores(path.parent)
    except InputError as error:
        print(f"warning: {error}", file=sys.stderr)
        return {}


def _stages(run: Run) -> list[str]:
    pipeline = run.pipeline
    optional = {
        "features": pipeline.frozen,
        "classifier": pipeline.classifier,
        "localiser": learning(pipeline.seeds),
        "refine": learning(pipeline.refine),
        "refined": pipeline.refine,
        "segment": pipeline.segment,
        "predictions": pipeline.segment,
    }
    names = ("features", "classifier", "localiser", "seeds", "refine", "refined", "masks", "segment", "predictions")
    return [name for name in names if optional.get(name, True) is not None]


def _parts(run: Run, truth: Any) -> dict[str, str]:
    """What each part of the scores that takes long hangs on, as a digest: the next command measures only what changed.

    Of ``refinement`` it is what the CRF says, and of ``precision`` what it says of seeds.
    """
    keys = {name: stage_key(run.out.path / name / "stage.json") for name in _stages(run)}
    held_out = run.out.path / HELD_OUT_SEEDS / "stage.json"
    seeds = [keys["seeds"], stage_key(held_out) if exists(held_out) else None, run.cuts("seeds").used]
    hang = {"precision": [*seeds, keys.get("classifier"), run.pipeline.precision, truth]}
    if "refined" in keys:
        hang["refinement"] = [*seeds, keys["refined"], run.cuts("refined").used]
    if "classifier" in keys:
        hang["doubtful"] = [keys["classifier"]]
    return {name: hashlib.sha256(json.dumps(each).encode()).hexdigest()[:16] for name, each in hang.items()}


def _unseen(run: Run) -> NDArray[np.bool_]:
    """Boolean mask (N,) of the training images that no threshold was tuned on and whose masks taught nothing."""
    tuned = read_tuned(run.out.path)
    used = set(run.corrected.taught) | (set(tuned.images) if tuned is not None else set())
    return np.array([name not in used for name in run.train.names], dtype=np.bool_)


def _thresholds(run: Run) -> Scores:
    """Every threshold of a run: its value, how and from what it was chosen, and how flat the criterion is around it."""
    found: Scores = {"seeds": run.cuts("seeds").to_json()}
    refiner = run.pipeline.refine
    for stage, method in (("localiser", run.pipeline.seeds), ("refine", refiner)):
        labels = getattr(method, "labels", None)
        kept = run.out.path / stage / "statistics.json"
        if isinstance(labels, OpenLabels) and labels.open and exists(kept):
            settled = labels.settled(MapStatistics.from_json(read_json(kept)))
            fields = {name: value for name, value in fields_of(labels).items() if value == AUTO}
            found[f"{stage}, confident labels"] = {name: round(fields_of(settled)[name], 4) for name in fields}
    if refiner is not None:
        found["masks"] = run.cuts("refined").to_json()
    if isinstance(refiner, Psa) and refiner.alpha == AUTO and (choice := run.cuts("seeds").choice) is not None:
        found["refine.alpha"] = round(alpha_of(choice.threshold), 4)
    return found


def _held_out(run: Run, val: Dataset, seeds: list[Path], scores: Scores, cuts: Cuts) -> Scores:
    """Scores of the held-out split and of its named groups; tags and seeds are scored if they exist."""
    located = all(path.exists() for path in seeds)
    probabilities = _probabilities(seeds, val) if located else None
    result: Scores = {}
    if probabilities is not None:
        precision = average_precision(probabilities, val.labels)
        result["tags"] = {"ap": _numbers(precision), "map": _mean(precision)}
    chosen = scores["train"]["seeds"]["swept"]["threshold"] if "train" in scores else None
    masks = run.files("predictions", val, ".png", "val") if run.pipeline.segment is not None else None
    if val.scored.any():
        if located and (swept := sweep(val, seeds, cuts, chosen)):
            result["seeds"] = swept
        if masks is not None and (scored := score_masks(val, masks))["images"]:
            result["segmentation"] = scored
    for name, members in val.groups.items():
        group: Scores = {"count": int(members.sum())}
        if probabilities is not None:
            group["map"] = _mean(average_precision(probabilities[members], val.labels[members]))
        if (val.scored & members).any():
            if located and (swept := sweep(val, seeds, cuts, chosen, members)):
                group["seeds"] = swept
            if masks is not None and (scored := score_masks(val, masks, members))["images"]:
                group["segmentation"] = scored
        result.setdefault("groups", {})[name] = group
    return result


def sweep(
    data: Dataset, maps: list[Path], cuts: Cuts, chosen: float | None = None, members: NDArray[np.bool_] | None = None
) -> Scores:
    """Dataset IoU of stored maps at every threshold in use, at one chosen on another split, and at the best one.

    Args:
        data: with ground truth; only its scored images count.
        maps: one stored map file an image.
        cuts: the run's thresholds of such maps.
        chosen: a threshold that was chosen on another split.
        members: (N,), the images to count; None counts all.

    Returns:
        Empty if no pixel could be counted.
    """
    total, lock = ThresholdSweep(len(data.classes)), threading.Lock()

    def work(index: int, sample: Sample) -> None:
        if sample.mask is None:
            return
        seeds = load_seeds(maps[index])
        one = ThresholdSweep(len(data.classes))
        for rows, band in enlarged(seeds):
            one.update(band.numpy(), seeds.classes, sample.mask[rows])
        nonlocal total
        with lock:
            total = total + one

    for_each(data, _counted(data, members), work, title="scoring maps", on_device=False)
    if not total.totals.any():
        return {}
    best, _ = total.best()
    at = {**cuts.known, "swept": best} | ({} if chosen is None else {"chosen on train": chosen})
    found = {name: {"threshold": threshold, **_iou(total.at(threshold))} for name, threshold in at.items()}
    return {
        "curve": [round(float(value), 5) for value in total.curve()],
        "thresholds": [round(float(value), 2) for value in THRESHOLDS],
        **found,
        "used": {"chosen": cuts.how, **found[cuts.how]},
    }


def score_masks(data: Dataset, masks: list[Path], members: NDArray[np.bool_] | None = None) -> Scores:
    """Dataset IoU of stored masks, and the IoU of each single image that was counted, by which examples are picked."""
    total, lock = Confusion(len(data.classes)), threading.Lock()
    images: dict[str, float] = {}

    def work(index: int, sample: Sample) -> None:
        if sample.mask is None:
            return
        one = Confusion(len(data.classes))
        one.update(load_mask(masks[index]), sample.mask)
        if not one.pixels():  # a mask of nothing but 255
            return
        nonlocal total
        with lock:
            total = total + one
            images[sample.name] = round(one.miou(), 5)

    for_each(data, _counted(data, members), work, title="scoring masks", on_device=False)
    return {**_iou(total), "images": dict(sorted(images.items()))}


def coverage(run: Run, seeds: list[Path], maps: list[Path]) -> Scores:
    """Statistics of pseudo-masks that need no ground truth, see :class:`deft.metrics.Coverage`.

    Pixels are those of the images as they are read (``Pipeline.max_side``). The ignored share is that of the confident
    labels a refiner learns from (255 where it was not told); without a refiner nothing is ignored.
    """
    data, total, lock = run.train, Coverage(len(run.train.classes)), threading.Lock()
    cut = run.mask_threshold
    open_labels = run.files("refine", data, ".png", "labels")

    def work(index: int, sample: Sample) -> None:
        found = load_seeds(maps[index])
        full = upsample(found)
        mask = to_mask(full, found.classes, cut)
        score = strongest(full)[1]
        undecided = load_mask(open_labels[index]) == 255 if open_labels[index].exists() else None
        one = Coverage(len(data.classes))
        one.update(mask, np.where(mask > 0, score, 1 - score).astype(np.float32), sample.labels, undecided)
        nonlocal total
        with lock:
            total = total + one

    for_each(without_truth(data), range(len(data)), work, title="coverage")
    return total.to_json()


def _probabilities(seeds: list[Path], data: Dataset) -> NDArray[np.float64] | None:
    """Probability of each class in each image, (N, K); None where the seeds were made without a classifier."""
    scores = [load_seeds(path).scores for path in seeds]
    return np.array(scores) if all(len(row) == len(data.classes) for row in scores) else None


def _counted(data: Dataset, members: NDArray[np.bool_] | None) -> list[int]:
    counted = data.scored if members is None else data.scored & members
    return [int(index) for index in np.flatnonzero(counted)]


def _iou(confusion: Confusion) -> Scores:
    return {"miou": confusion.miou(), "iou": _numbers(confusion.iou())}


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 5) for value in values]


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
