"""The page of a run: collects what the stages stored and passes it to :mod:`deft.report`."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from deft.artifacts import HELD_OUT_SEEDS, atomic_write, seconds_of
from deft.artifacts.expected import ANY, read_expected
from deft.contracts import Dataset, InputError
from deft.data import check
from deft.engine.fit import read_history
from deft.engine.method import ZeroShot
from deft.evaluate.compare import GROUP_MEASURES, at, number
from deft.evaluate.pictures import PICTURES, held_out_pictures, pictures, tagged_first
from deft.evaluate.precision import sentence
from deft.evaluate.refinement import sentence as harm
from deft.evaluate.reviewed import remark as of_review
from deft.evaluate.scores import left_out_of
from deft.evaluate.stored import RECORD, REMEDY, read_scores
from deft.guards.words import shown
from deft.metrics import Coverage, class_by_class, class_by_context
from deft.report.data import HOW, Comparison, Curve, DoubtfulTag, ReportData, Score, SplitFacts, StageRow
from deft.report.html import render
from deft.stages.context import Run
from deft.stages.make import predict_some
from deft.thresholds import read_tuned

REVIEWED = "reviewed"
"""The split of scores on reviewed images that taught nothing."""
EXTREMES = 4
MOST_SHOWN = 24
"""Doubtful tags that are shown with their image."""

MADE = {
    "classifier": "learns which tags fit an image",
    "localiser": "learns to find the tags in an image",
    "corrected": "reviewed masks that this round learned from, and those it is scored on",
    "seeds": "where the classifier looks",
    HELD_OUT_SEEDS: "the same in held-out images, only to be scored",
    "refine": "learns where boundaries lie",
    "refined": "maps spread up to the objects' edges",
    "masks": "pseudo-masks, one PNG an image",
    "segment": "network trained on the pseudo-masks",
    "predictions": "its masks of images whose tags it was not given",
}
_RECORD = {
    **{"recipe": str, "settings": {"backbone": ANY, "weights": ANY, "seed": ANY}, "data": {"given": str}},
    "versions": {str: ANY},
}
"""What the page shows of ``run.json``."""
GIVEN = "maps that another tool made"
NAMED = "maps from the names of the classes"
"""Description of the seeds in a run without a classifier."""

PRODUCTS = {
    "masks": "pseudo-masks of the training images, palette PNGs named after them",
    "segment/model.safetensors": "the segmentation network: deft predict and deft.load read it",
    "predictions": "masks the network made of images shown or held out",
    "seeds": "class maps of every image, 8 bit, on every fourth pixel",
    "refine/labels": "confident labels that the boundaries were learned from",
    "classifier/model.safetensors": "the classifier",
    "round-0": "the run whose pseudo-masks gave the first objects to paste",
    "scores.json": "every number of this page, and each image's own",
    "run.json": "recipe, settings, data and versions",
}


def write_report(run: Run) -> Path:
    """Write ``report.html`` of a finished run and return its path."""
    path = run.out.path / "report.html"
    atomic_write(path, render(collect(run)).encode())
    return path


def collect(run: Run) -> ReportData:
    """Everything the page shows."""
    record = read_expected(run.out.path / "run.json", _RECORD, "restore the file, or repeat the deft run command")
    scores = _scores_of(run)
    classes = run.train.classes
    contexts = None
    if run.train.contexts and run.train.context_labels is not None:
        contexts = class_by_context(run.train.labels, run.train.context_labels, classes, run.train.contexts)
    order = scores.get("train", {}).get("images", {})
    ranked = sorted(order, key=lambda name: order[name])
    few = min(EXTREMES, len(ranked) // 2)
    usual = tagged_first(run.train, PICTURES // 2)
    worst, best = ([run.train.names.index(name) for name in names] for names in (ranked[:few], ranked[::-1][:few]))
    if run.pipeline.segment is not None:
        predict_some(run, "train", sorted({*usual, *worst, *best}))
    return ReportData(
        title=f"{record['recipe'] or 'run'} on {_place(record['data']['given'])}",
        recipe=record["recipe"],
        classes=classes,
        facts=_facts(record) | ({"precision": sentence(scores["precision"])} if "precision" in scores else {}),
        settings=record["settings"],
        products={path: what for path, what in PRODUCTS.items() if (run.out.path / path).exists()},
        splits=tuple(_split(name, data) for name, data in run.parts()),
        stages=tuple(_stages(run)),
        scores=tuple(_scores(scores, run)),
        curves=_curves(scores),
        pictures=pictures(run, usual, "train") + held_out_pictures(run),
        worst=pictures(run, worst, "train", order),
        best=pictures(run, best, "train", order),
        losses=_losses(run),
        together=class_by_class(run.train.labels, classes),
        contexts=contexts,
        groups=_groups(scores),
        coverage=Coverage.from_json(scores["coverage"]) if "coverage" in scores else None,
        doubtful=tuple(_doubtful(run, scores)),
        doubted=int(scores.get("doubtful", {}).get("doubted", 0)),
        warnings=tuple(_warnings(run, scores)),
    )


def _scores_of(run: Run) -> dict[str, Any]:
    """The scores of a run.

    Raises:
        InputError: there are none, or they are of other classes or images.
    """
    scores, train = read_scores(run.out.path), run.train
    where = shown(run.out.path / RECORD)
    if scores["classes"] != list(train.classes):
        raise InputError(f"{where}: expected scores of the classes of the data, got others; {REMEDY}")
    tags = scores.get("doubtful", {}).get("tags", [])
    named = [*scores.get("train", {}).get("images", {}), *(tag["image"] for tag in tags)]
    if strangers := sorted(set(named) - set(train.names)):
        what = f"expected scores of the images of the data, got some of {shown(strangers[0])!r}"
        raise InputError(f"{where}: {what}; {REMEDY}")
    return scores


def _doubtful(run: Run, scores: dict[str, Any]) -> list[DoubtfulTag]:
    """The doubtful tags of a run, the first of them with their images."""
    found = []
    places = {name: index for index, name in enumerate(run.train.names)}
    for rank, tag in enumerate(scores.get("doubtful", {}).get("tags", [])):
        picture = run.train[places[tag["image"]]].image if rank < MOST_SHOWN else None
        found.append(DoubtfulTag(tag["image"], tag["class"], tag["given"], picture))
    return found


def _place(given: str) -> str:
    return "the embedded dataset" if given.startswith("demo:") else given or "images"


def _facts(record: dict[str, Any]) -> dict[str, str]:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return {
        "data": str(record["data"]["given"]),
        "backbone": f"{record['settings']['backbone']}, weights {record['settings']['weights']}",
        "seed": str(record["settings"]["seed"]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores"
        + (f", threads of each process: {record['threads']}" if "threads" in record else ""),
        "versions": versions,
    }


def _split(name: str, data: Dataset) -> SplitFacts:
    per_class = tuple(int(count) for count in data.labels.sum(axis=0))
    return SplitFacts(name, len(data), int(data.scored.sum()), per_class)


def _stages(run: Run) -> list[StageRow]:
    rows = []
    note = NAMED if isinstance(run.pipeline.seeds, ZeroShot) else GIVEN
    given = {"seeds": note, HELD_OUT_SEEDS: note} if run.pipeline.classifier is None else {}
    for name, note in (MADE | given).items():
        path = run.out.path / name / "stage.json"
        if path.exists():
            record = run.stored(name).record
            rows.append(StageRow(name, seconds_of(record), str(record.get("state", "")), note))
    return rows


def _scores(scores: dict[str, Any], run: Run) -> list[Score]:
    found: list[Score] = []
    val, train = scores.get("val", {}), scores.get("train", {})
    left_out = scores.get("left out", {})
    held_out = [] if run.val is None else [run.val.names[index] for index in np.flatnonzero(run.val.scored)]
    counted = len([name for name in held_out if name not in left_out])

    def add(what: str, split: str, kind: str, part: dict[str, Any], headline: bool = False) -> None:
        images = len(train.get("images", ())) if split == "train" or run.val is None else counted
        chosen = kind == "chosen on train"
        how = part.get("chosen", kind)
        found.append(
            Score(
                what=f"{what} {part['threshold']:.2f}" if chosen else what,
                split=split,
                value=number(part["miou"]),
                threshold=None if chosen else part.get("threshold"),
                chosen=how if how in HOW else "fixed",
                per_class=tuple(number(value) for value in part["iou"]),
                images=int(part["images"]) if split == REVIEWED else images,
                headline=headline,
            )
        )

    reviewed = scores.get("reviewed", {})
    if "segmentation" in reviewed:
        add("segmentation network", REVIEWED, "", reviewed["segmentation"], headline="segmentation" not in val)
    if "masks" in reviewed:
        add("pseudo-masks", REVIEWED, "", reviewed["masks"])
    if "segmentation" in val:
        add("segmentation network", "val", "", val["segmentation"], headline=True)
    for what, part in (("pseudo-masks", train.get("masks")), ("seeds", train.get("seeds"))):
        for kind in _kinds(part):
            headline = what == "pseudo-masks" and kind == "used" and "segmentation" not in {**val, **reviewed}
            add(what, "train", kind, part[kind], headline)
    for kind in _kinds(val.get("seeds")):
        what = "seeds at train's best threshold" if kind == "chosen on train" else "seeds"
        add(what, "val", kind, val["seeds"][kind])
    if val.get("tags", {}).get("map") is not None:
        tags = val["tags"]
        per_class = tuple(number(value) for value in tags["ap"])
        images = len(run.val) if run.val is not None else 0
        found.append(Score("classification", "val", tags["map"], "mAP", per_class=per_class, images=images))
    return found


def _kinds(part: dict[str, Any] | None) -> list[str]:
    """The thresholds that are shown: the one in use, others that need no ground truth, and the best one."""
    if not part:
        return []
    others = [kind for kind in ("auto", "chosen on train") if kind in part and kind != part["used"]["chosen"]]
    return ["used", *others, "swept"]


def _curves(scores: dict[str, Any]) -> dict[str, Curve]:
    curves = {}
    for label, part in (
        ("seeds, train", at(scores, "train", "seeds")),
        ("pseudo-masks, train", at(scores, "train", "masks")),
        ("seeds, val", at(scores, "val", "seeds")),
    ):
        if part:
            auto = part.get("auto", {}).get("threshold")
            curves[label] = Curve(tuple(part["thresholds"]), tuple(part["curve"]), part["used"]["threshold"], auto)
    if "pseudo-masks, train" in curves and curves["pseudo-masks, train"].miou == curves["seeds, train"].miou:
        del curves["pseudo-masks, train"]
    return curves


def _groups(scores: dict[str, Any]) -> Comparison | None:
    groups = at(scores, "val", "groups")
    if not groups:
        return None
    names = tuple(groups)
    rows = [(what, tuple(number(at(groups[name], *keys)) for name in names)) for what, keys in GROUP_MEASURES.items()]
    known = tuple(row for row in rows if not all(map(math.isnan, row[1])))
    explain = "The held-out images by the place of their objects; a large gap means that the classes lean on it."
    counts = tuple(int(groups[name]["count"]) for name in names)
    return Comparison("Parts of the held-out images", names, known, explain, counts)


def _losses(run: Run) -> dict[str, dict[str, tuple[tuple[int, float], ...]]]:
    found = {}
    for title, folder in (
        ("classifier", "classifier"),
        ("localiser", "localiser"),
        ("refine", "refine"),
        ("segmentation", "segment"),
    ):
        history = read_history(run.out.path / folder)
        if history:
            found[title] = {name: tuple(curve) for name, curve in history.items()}
    return found


def _warnings(run: Run, scores: dict[str, Any]) -> list[str]:
    notes = []
    named = run.pipeline.seeds if isinstance(run.pipeline.seeds, ZeroShot) else None
    if run.pipeline.classifier is None and named is not None:
        notes.append(
            "No classifier was trained: the seeds and the scores of tags come from a network that was trained on texts "
            "(zero-shot), and what was trained here began from the backbone's own weights."
        )
    elif run.pipeline.classifier is None:
        notes.append(
            "No classifier was trained: the seeds are another tool's maps, no tags are guessed or scored, and what was "
            "trained began from the backbone's own weights."
        )
        if at(scores, "val") is not None and at(scores, "val", "seeds") is None:
            notes.append("The held-out images have no such maps or no truth: their seeds are not scored.")
    if remark := left_out_of(scores):
        notes.append(f"{remark[0].upper()}{remark[1:]}.")
    if reviewed := of_review(scores):
        notes.append(reviewed)
    counts = run.train.labels.sum(axis=0)
    rare = [f"{name} ({count})" for name, count in zip(run.train.classes, counts, strict=True) if count < 5]
    if rare:
        notes.append(f"Fewer than 5 training images: {', '.join(rare)}. Do not expect much of these classes.")
    if not run.train.labels.any(axis=1).all():
        without = int((~run.train.labels.any(axis=1)).sum())
        learned = "as showing none of the classes"
        if named is not None and named.zero_shot:
            learned = f"with the classes of zero-shot presence above {named.presence:g}"
        notes.append(f"{without} training images have no tag; they were learned from {learned}.")
    remarks = [
        str(fault) for fault in check(run.splits, full=False, masks=0, untagged=named is not None and named.zero_shot)
    ]
    notes += remarks[:5]
    if len(remarks) > 5:
        notes.append(f"{len(remarks) - 5} more remarks on the data: deft check lists them all.")
    if run.val is None:
        notes.append("There is no held-out split, so nothing says how well new photographs would be masked.")
    seeds = at(scores, "train", "seeds")
    best, used = (seeds[name]["miou"] for name in ("swept", "used")) if seeds else (None, None)
    if best is not None and used is not None and best - used > 0.05:  # None where no pixel was counted
        notes.append(
            f"The seeds' threshold {seeds['used']['threshold']:.2f} is far from the best on this data "
            f"({seeds['swept']['threshold']:.2f}): compare the threshold curve."
        )
    if "train" not in scores and (warning := harm(scores.get("refinement", {}))):
        notes.append(warning)
    tuned = read_tuned(run.out.path)
    if tuned is not None:
        off = ", ".join(f"{name} {100 * value:.1f}" for name, value in tuned.off.items())
        notes.append(
            f"Thresholds were tuned on the masks of {len(tuned.images)} training images, which are not scored here. "
            f"Choices made alike on samples of these masks lose some mIoU (points, mean): {off}."
        )
    return notes
