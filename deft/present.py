"""From a run folder to its page: collects what the stages stored and hands it to :mod:`deft.report`."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import atomic_write, load_mask, load_seeds, read_json
from deft.contracts import Dataset, InputError
from deft.data import check
from deft.data.spread import spread
from deft.engine.fit import read_history
from deft.metrics import Coverage, class_by_class, class_by_context
from deft.precision_check import sentence
from deft.refine.labels import upsample_seeds
from deft.refinement_check import sentence as harm
from deft.report.data import HOW, Comparison, Curve, PictureRow, ReportData, Score, SplitFacts, StageRow
from deft.report.html import render
from deft.report.overlay import overlay, seeds_over_image
from deft.thresholds import read_tuned

if TYPE_CHECKING:
    from deft.stages import Run

PICTURES = 8
"""Images shown from the middle of the data; worst and best come beside them."""
EXTREMES = 4

MADE = {
    "classifier": "learns which tags fit an image",
    "localiser": "learns to find the tags in an image",
    "seeds": "where the classifier looks",
    "refine": "learns where boundaries lie",
    "refined": "maps walked up to the objects' edges",
    "masks": "pseudo-masks, one PNG an image",
    "segment": "network trained on the pseudo-masks",
    "predictions": "its masks of images it was told nothing of",
}
GIVEN = "maps that another tool made"
"""What the seeds are in a run without a classifier."""

PRODUCTS = {
    "masks": "pseudo-masks of the training images, palette PNGs named after them",
    "segment/model.safetensors": "the segmentation network: `deft predict` and deft.load read it",
    "predictions": "masks the network made of images shown or held out",
    "seeds": "class maps of every image, 8 bit, on every fourth pixel",
    "refine/labels": "confident labels that the boundaries were learned from",
    "classifier/model.safetensors": "the classifier",
    "round-0": "the run whose pseudo-masks gave the first objects to paste",
    "scores.json": "every number of this page, and each image's own",
    "run.json": "recipe, settings, data and versions",
}


GROUP_MEASURES = {
    "tags (mAP)": ("map",),
    "seeds, the run's threshold (mIoU)": ("seeds", "used", "miou"),
    "seeds, train's best threshold (mIoU)": ("seeds", "chosen on train", "miou"),
    "segmentation network (mIoU)": ("segmentation", "miou"),
}
"""What is scored on each named part of the held-out split: title and where it stands in ``scores.json``."""


def write_report(run: Run) -> Path:
    """Write ``report.html`` of a finished run and return its path."""
    path = run.out.path / "report.html"
    atomic_write(path, render(collect(run)).encode())
    return path


def rewrite_report(folder: Path, beside: Sequence[Path] = ()) -> Path:
    """Write a run's page again, its scores beside those of other runs.

    Raises:
        InputError: one of the folders holds no finished run, or the data is gone or has changed.
    """
    from deft.pipeline import reopen

    scores = {}
    for other in [folder, *beside]:
        if not (other / "scores.json").exists():
            raise InputError(
                f"{other}: expected a finished run, found none; finish it with the command it was begun with"
            )
        record = read_json(other / "run.json")
        scores[record["recipe"] or other.name] = read_json(other / "scores.json")
    run = reopen(folder)
    try:
        data = replace(collect(run), comparisons=tuple(compare(scores)) if beside else ())
        path = folder / "report.html"
        atomic_write(path, render(data).encode())
        return path
    finally:
        run.out.close()


def collect(run: Run) -> ReportData:
    """Everything the page shows."""
    record = read_json(run.out.path / "run.json")
    scores = read_json(run.out.path / "scores.json")
    classes = run.train.classes
    contexts = None
    if run.train.contexts and run.train.context_labels is not None:
        contexts = class_by_context(run.train.labels, run.train.context_labels, classes, run.train.contexts)
    order = scores.get("train", {}).get("images", {})
    ranked = sorted(order, key=lambda name: order[name])
    few = min(EXTREMES, len(ranked) // 2)
    usual = _tagged_first(run.train, PICTURES // 2)
    worst, best = ([run.train.names.index(name) for name in names] for names in (ranked[:few], ranked[::-1][:few]))
    if run.pipeline.segment is not None:
        made_by = read_json(run.out.path / "predictions" / "stage.json")["key"]
        run.predict("train", sorted({*usual, *worst, *best}), made_by)
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
        pictures=_pictures(run, usual, "train") + _held_out_pictures(run),
        worst=_pictures(run, worst, "train", order),
        best=_pictures(run, best, "train", order),
        losses=_losses(run),
        together=class_by_class(run.train.labels, classes),
        contexts=contexts,
        groups=_groups(scores),
        coverage=Coverage.from_json(scores["coverage"]) if "coverage" in scores else None,
        warnings=tuple(_warnings(run, scores)),
    )


def compare(runs: dict[str, dict[str, Any]]) -> list[Comparison]:
    """Tables of several runs' scores side by side: over all, and each measure on the named parts of the held-out split.

    Args:
        runs: ``scores.json`` by the name of the run.
    """
    measures = {
        "tags, val (mAP)": ("val", "tags", "map"),
        "seeds, train, the run's threshold": ("train", "seeds", "used", "miou"),
        "seeds, train, best threshold (chosen on the truth)": ("train", "seeds", "swept", "miou"),
        "pseudo-masks, train, the run's threshold": ("train", "masks", "used", "miou"),
        "seeds, val, train's best threshold": ("val", "seeds", "chosen on train", "miou"),
        "network, val": ("val", "segmentation", "miou"),
    }
    explain = (
        "Each number as in the score table of the run's own page. One run each: another seed moves them by points."
    )
    tables = [_side_by_side("Side by side", runs, {title: keys for title, keys in measures.items()}, explain)]
    groups = sorted({group for scores in runs.values() for group in scores.get("val", {}).get("groups", {})})
    counts = tuple(
        next(int(found) for scores in runs.values() if (found := _at(scores, "val", "groups", group, "count")))
        for group in groups
    )
    explain = "The held-out images by where their objects are: where they mostly are in training, or elsewhere."
    for what, keys in GROUP_MEASURES.items():
        columns = {group: ("val", "groups", group, *keys) for group in groups}
        tables.append(replace(_side_by_side(f"{what}, on each part of val", runs, columns, explain), images=counts))
    return [table for table in tables if table.rows and table.columns]


def _side_by_side(
    title: str, runs: dict[str, dict[str, Any]], columns: dict[str, tuple[str, ...]], explain: str
) -> Comparison:
    """Runs down, scores across; runs and scores of which nothing is known are left out."""
    values = {
        name: {column: _number(_at(scores, *keys)) for column, keys in columns.items()} for name, scores in runs.items()
    }
    known = [column for column in columns if not all(math.isnan(row[column]) for row in values.values())]
    rows = tuple((name, tuple(row[column] for column in known)) for name, row in values.items())
    return Comparison(title, tuple(known), tuple(row for row in rows if not all(map(math.isnan, row[1]))), explain)


def _place(given: str) -> str:
    return "the embedded data set" if given.startswith("demo:") else given or "images"


def _facts(record: dict[str, Any]) -> dict[str, str]:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return {
        "data": str(record["data"]["given"]),
        "backbone": f"{record['settings']['backbone']}, weights {record['settings']['weights']}",
        "seed": str(record["settings"]["seed"]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions,
    }


def _split(name: str, data: Dataset) -> SplitFacts:
    per_class = tuple(int(count) for count in data.labels.sum(axis=0))
    return SplitFacts(name, len(data), int(data.scored.sum()), per_class)


def _stages(run: Run) -> list[StageRow]:
    rows = []
    for name, note in (MADE | ({"seeds": GIVEN} if run.pipeline.classifier is None else {})).items():
        path = run.out.path / name / "stage.json"
        if path.exists():
            record = read_json(path)
            rows.append(StageRow(name, float(record["seconds"]), record["state"], note))
    return rows


def _scores(scores: dict[str, Any], run: Run) -> list[Score]:
    found: list[Score] = []
    val, train = scores.get("val", {}), scores.get("train", {})

    def add(what: str, split: str, kind: str, part: dict[str, Any], headline: bool = False) -> None:
        chosen = kind == "chosen on train"
        how = part.get("chosen", kind)
        found.append(
            Score(
                what=f"{what} {part['threshold']:.2f}" if chosen else what,
                split=split,
                value=_number(part["miou"]),
                threshold=None if chosen else part.get("threshold"),
                chosen=how if how in HOW else "fixed",
                per_class=tuple(_number(value) for value in part["iou"]),
                images=len(train["images"]) if split == "train" or run.val is None else int(run.val.scored.sum()),
                headline=headline,
            )
        )

    if "segmentation" in val:
        add("segmentation network", "val", "", val["segmentation"], headline=True)
    for what, part in (("pseudo-masks", train.get("masks")), ("seeds", train.get("seeds"))):
        for kind in _kinds(part):
            headline = what == "pseudo-masks" and kind == "used" and "segmentation" not in val
            add(what, "train", kind, part[kind], headline)
    for kind in _kinds(val.get("seeds")):
        what = "seeds at train's best threshold" if kind == "chosen on train" else "seeds"
        add(what, "val", kind, val["seeds"][kind])
    if val.get("tags", {}).get("map") is not None:
        tags = val["tags"]
        per_class = tuple(_number(value) for value in tags["ap"])
        images = len(run.val) if run.val is not None else 0
        found.append(Score("classification", "val", tags["map"], "mAP", per_class=per_class, images=images))
    return found


def _kinds(part: dict[str, Any] | None) -> list[str]:
    """Which of the thresholds of scored maps are shown: the one in use, others that needed no truth, and the best."""
    if not part:
        return []
    others = [kind for kind in ("auto", "chosen on train") if kind in part and kind != part["used"]["chosen"]]
    return ["used", *others, "swept"]


def _curves(scores: dict[str, Any]) -> dict[str, Curve]:
    curves = {}
    for label, part in (
        ("seeds, train", _at(scores, "train", "seeds")),
        ("pseudo-masks, train", _at(scores, "train", "masks")),
        ("seeds, val", _at(scores, "val", "seeds")),
    ):
        if part:
            auto = part.get("auto", {}).get("threshold")
            curves[label] = Curve(tuple(part["thresholds"]), tuple(part["curve"]), part["used"]["threshold"], auto)
    if "pseudo-masks, train" in curves and curves["pseudo-masks, train"].miou == curves["seeds, train"].miou:
        del curves["pseudo-masks, train"]
    return curves


def _groups(scores: dict[str, Any]) -> Comparison | None:
    groups = _at(scores, "val", "groups")
    if not groups:
        return None
    names = tuple(groups)
    rows = [(what, tuple(_number(_at(groups[name], *keys)) for name in names)) for what, keys in GROUP_MEASURES.items()]
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
    if run.pipeline.classifier is None:
        notes.append(
            "No classifier was trained: the seeds are another tool's maps, no tags are guessed or scored, and what was "
            "trained began from the backbone's own weights."
        )
        if _at(scores, "val") is not None and _at(scores, "val", "seeds") is None:
            notes.append("The held-out images have no such maps or no truth: their seeds are not scored.")
    counts = run.train.labels.sum(axis=0)
    rare = [f"{name} ({count})" for name, count in zip(run.train.classes, counts, strict=True) if count < 5]
    if rare:
        notes.append(f"Fewer than 5 training images: {', '.join(rare)}. Do not expect much of these classes.")
    if not run.train.labels.any(axis=1).all():
        without = int((~run.train.labels.any(axis=1)).sum())
        notes.append(f"{without} training images have no tag; they were learned from as showing none of the classes.")
    remarks = [str(fault) for fault in check(run.splits, full=False)]
    notes += remarks[:5]
    if len(remarks) > 5:
        notes.append(f"{len(remarks) - 5} more remarks on the data: `deft check` lists them all.")
    if run.val is None:
        notes.append("There is no held-out split, so nothing says how well new photographs would be masked.")
    seeds = _at(scores, "train", "seeds")
    if seeds and seeds["swept"]["miou"] - seeds["used"]["miou"] > 0.05:
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


def _tagged_first(data: Dataset, count: int) -> list[int]:
    """Indices spread over the tagged images, or over all where none is tagged."""
    tagged = np.flatnonzero(data.labels.any(axis=1))
    return spread(tagged if len(tagged) else np.arange(len(data)), count)


def _held_out_pictures(run: Run) -> tuple[PictureRow, ...]:
    return () if run.val is None else _pictures(run, _tagged_first(run.val, PICTURES // 2), "val")


def _pictures(run: Run, indices: list[int], part: str, score: dict[str, float] | None = None) -> tuple[PictureRow, ...]:
    """Rows of image, seeds, refined maps, pseudo-mask, prediction and truth, as far as there are."""
    data = run.val if part == "val" and run.val is not None else run.train
    rows = []
    for index in indices:
        sample = data[index]
        pictures = [("image", sample.image)]
        pictures += _maps(run.files("seeds", data, ".npz", part)[index], "seeds", sample.image)
        if part == "train":
            if run.pipeline.refine is not None:
                pictures += _maps(run.map_files()[index], "refined", sample.image)
            pictures += _mask(run.files("masks", data, ".png")[index], "pseudo-mask", sample.image)
        pictures += _mask(run.files("predictions", data, ".png", part)[index], "prediction", sample.image)
        if sample.mask is not None:
            pictures.append(("truth", overlay(sample.image, sample.mask)))
        tags = tuple(data.classes[k] for k in np.flatnonzero(sample.labels))
        rows.append(PictureRow(sample.name, tags, tuple(pictures), score[sample.name] if score else None))
    return tuple(rows)


def _maps(path: Path, caption: str, image: NDArray[np.uint8]) -> list[tuple[str, NDArray[np.uint8]]]:
    if not path.exists():
        return []
    seeds = load_seeds(path)
    return [(caption, seeds_over_image(image, upsample_seeds(seeds).numpy(), seeds.classes))]


def _mask(path: Path, caption: str, image: NDArray[np.uint8]) -> list[tuple[str, NDArray[np.uint8]]]:
    return [(caption, overlay(image, load_mask(path)))] if path.exists() else []


def _at(value: Any, *keys: str) -> Any:
    """Follow keys into nested mappings; None where one is missing."""
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
