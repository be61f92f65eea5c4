"""Loss in mIoU of thresholds chosen without masks, compared with the best ones, for seeds, labels and masks.

Each system is run with its own settings (``auto`` by default). Then each criterion in
:data:`deft.thresholds.CRITERIA` chooses a threshold for the same stored maps, and the published thresholds are applied
to them. The loss is the mIoU at the best of 100 thresholds, chosen on the ground truth, minus the mIoU at the threshold
chosen without it.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import load_mask, load_seeds, write_json
from deft.contracts import IGNORE, InputError, Sample
from deft.data.scaling import resized_mask
from deft.engine.infer import for_each
from deft.evaluate.stored import read_scores
from deft.pipeline import Pipeline
from deft.recipes import published
from deft.refine.labels import ConfidentLabels
from deft.seedmaps import to_mask, upsample
from deft.stages.context import Run
from deft.stages.truth import usable_truth
from deft.studies.outcome import NOTHING, Outcome, Table, cell
from deft.studies.rows import Finding, Row, system_rows
from deft.studies.runner import StudyRunner
from deft.thresholds import AUTO, CRITERIA, best_of, number
from deft.thresholds.criterion import three_class_otsu

SYSTEMS = ("cam", "irn", "irn_deft", "psa", "amn", "cutout")
RECORD = "thresholds-study.json"
PUBLISHED = "published"
MAPS = {"seeds": "Seeds", "masks": "Masks of refined maps"}
STAGE = {"seeds": "seeds", "masks": "refined"}
TRAINED_ON = "as learned from, after the CRF"
"""Key, in records, of the labels that the refiner was trained on."""


def thresholds(runner: StudyRunner, systems: Sequence[Row] | None = None) -> Outcome:
    """Run each system up to its masks and compare the criteria that choose thresholds.

    Args:
        runner: makes the runs.
        systems: rows to choose from; None for all recipes.
    """
    runner.require_ground_truth()
    rows = runner.choose(systems or system_rows(systems=runner.systems), SYSTEMS)
    rows = [replace(row, pipeline=replace(row.pipeline, segment=None)) for row in rows]

    def work(row: Row, seed: int) -> None:
        with runner.run(row.name, row.pipeline, seed) as run:
            write_json(run.out.path / RECORD, compare_criteria(run))

    return runner.survey(rows, work, _compose, RECORD)


def compare_criteria(run: Run) -> dict[str, Any]:
    """The record of one run: the loss of each criterion on its maps, and the errors of its confident labels."""
    scores = read_scores(run.out.path).get("train", {})
    parts = ["seeds"] if run.pipeline.refine is None else ["seeds", "masks"]
    fixed = _published(run.pipeline)
    found: dict[str, Any] = {}
    for part in parts:
        curve = np.array(scores[part]["curve"])
        best = int(np.nanargmax(curve))
        auto = run.cuts(STAGE[part]).needed("a threshold").threshold
        chosen = {AUTO: auto, **{name: best_of(name, run.statistics(STAGE[part])) for name in CRITERIA}}
        if part in fixed:
            chosen[PUBLISHED] = fixed[part]
        found[part] = {
            "best": [best / 100, float(curve[best])],
            "criteria": {name: [at, float(curve[best] - curve[round(100 * at)])] for name, at in chosen.items()},
        }
    found["labels"] = _labels(run)
    return found


def _published(pipeline: Pipeline) -> dict[str, float]:
    """The published thresholds of seeds and refined maps; empty if there are none."""
    try:
        known = published(pipeline)
    except InputError:
        return {}
    seeds = {"seeds": number(known.seed_threshold)}
    return seeds if known.refine is None else {**seeds, "masks": number(known.refine.background)}


def _labels(run: Run) -> dict[str, dict[str, float]]:
    """Shares of wrong and ignored confident labels: those used for training, and before the CRF for each rule."""
    refiner = run.pipeline.refine
    paths = run.files("refine", run.train, ".png", "labels")
    seeds = run.files("seeds", run.train, ".npz", "train")
    if refiner is None or not paths[0].exists():
        return {}
    found = {TRAINED_ON: _quality(run, lambda index: load_mask(paths[index]))}
    labels = getattr(refiner, "labels", None)
    if isinstance(labels, ConfidentLabels):
        statistics_ = run.statistics("seeds")
        auto = replace(labels, fg=AUTO, bg=AUTO).settled(statistics_)
        upper, lower = three_class_otsu(statistics_.counts)
        rules = {"auto": (number(auto.fg), number(auto.bg)), "three-class Otsu": (upper, lower)}
        with suppress(InputError):  # there are no published thresholds for maps of other tools
            known = getattr(published(run.pipeline).refine, "labels", None)
            if isinstance(known, ConfidentLabels):
                rules[PUBLISHED] = (number(known.fg), number(known.bg))
        for name, (fg, bg) in rules.items():

            def cut(index: int, fg: float = fg, bg: float = bg) -> NDArray[np.uint8]:
                maps = load_seeds(seeds[index])
                full = upsample(maps)
                sure, possible = (to_mask(full, maps.classes, at) for at in (fg, bg))
                return np.where((sure == 0) & (possible != 0), np.uint8(IGNORE), sure)

            found[name] = {"objects above": fg, "background below": bg, **_quality(run, cut)}
    return found


def _quality(run: Run, label: Callable[[int], NDArray[np.uint8]]) -> dict[str, float]:
    """Shares of wrong object labels, of wrong background labels and of ignored pixels, in [0, 1]."""
    counts, lock = np.zeros(5, dtype=np.int64), threading.Lock()

    def work(index: int, sample: Sample) -> None:
        if sample.mask is None:
            return
        made, known = resized_mask(label(index), sample.full_size), sample.mask != IGNORE
        objects, background = known & (made != IGNORE) & (made != 0), known & (made == 0)
        wrong = made != sample.mask
        one = [objects.sum(), (objects & wrong).sum(), background.sum(), (background & wrong).sum(), known.sum()]
        with lock:
            counts[:] += np.array(one)

    scored = [int(index) for index in np.flatnonzero(run.train.scored)]
    for_each(usable_truth(run.train), scored, work, title="labels", on_device=False)
    objects, wrong_objects, background, wrong_background, known = (int(value) for value in counts)
    return {
        "wrong objects": wrong_objects / max(1, objects),
        "wrong background": wrong_background / max(1, background),
        "open": 1 - (objects + background) / max(1, known),
    }


def _compose(findings: Sequence[Finding]) -> Outcome:
    rows = list({each.row.name: each.row for each in findings}.values())
    known = {row.name: [each.value for each in findings if each.row.name == row.name and each.value] for row in rows}
    names = [AUTO, *CRITERIA, PUBLISHED]
    tables = []
    for part, title in MAPS.items():
        lines, means = [], []
        for row in rows:
            runs = [value[part] for value in known[row.name] if part in value]
            if not runs:
                continue
            cells = [_loss(runs, name) for name in names]
            means.append({name: _mean(runs, name) for name in names})
            best = cell([run["best"][1] for run in runs]), cell([run["best"][0] for run in runs], 1.0, 2)
            lines.append((row.label, str(len(runs)), *best, *cells))
        if lines:
            for word, over in (("mean over systems", statistics.fmean), ("worst system", max)):
                numbers = [[loss for m in means if (loss := m[name]) is not None] for name in names]
                lines.append((word, "", "", "", *(f"{100 * over(n):.1f}" if n else NOTHING for n in numbers)))
            heads = ("system", "runs", "best mIoU", "best threshold", *names)
            tables.append(Table(f"{title}: loss in mIoU", heads, tuple(lines), LOSS))
    tables += [*_gains(rows, known), *_label_tables(rows, known)]
    return Outcome(
        "thresholds",
        "Thresholds chosen without masks: loss in mIoU of each criterion",
        tuple(tables),
        notes=(NOTE,),
        values={
            row.name: {str(each.seed): each.value for each in findings if each.row.name == row.name and each.value}
            for row in rows
        },
    )


LOSS = (
    "mIoU at the best of 100 thresholds, chosen on the ground truth, minus the mIoU at the threshold chosen without "
    "it, in percentage points: mean ± standard deviation over random seeds, and the threshold in brackets."
)
NOTE = (
    "*auto* is what recipes use: for seeds the criterion *both*, which is the product of *colours* and *Otsu*; for "
    "refined maps the threshold at which they cover as many cells as the seeds do at theirs. *colours* is the mutual "
    "information between being above the threshold and the colour of the pixel, *Otsu* the variance between the values "
    "above and below the threshold, *mean* the mean of all values. *published* are the thresholds of the papers (for "
    "masks, on maps refined from this run's labels)."
)


def _loss(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    chosen = [run["criteria"][name] for run in runs if name in run["criteria"]]
    if not chosen:
        return NOTHING
    return f"{cell([one[1] for one in chosen])} ({cell([one[0] for one in chosen], 1.0, 2)})"


def _mean(runs: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [run["criteria"][name][1] for run in runs if name in run["criteria"]]
    return statistics.fmean(values) if values else None


def _gains(rows: Sequence[Row], known: Mapping[str, Sequence[Any]]) -> list[Table]:
    lines = []
    for row in rows:
        runs = [value for value in known[row.name] if "masks" in value]
        if runs:
            at = [[run[part]["best"][1] - run[part]["criteria"]["auto"][1] for run in runs] for part in MAPS]
            gains = [masks - seeds for seeds, masks in zip(*at, strict=True)]
            lines.append((row.label, str(len(runs)), *(cell(each) for each in at), cell(gains, sign=True)))
    heads = ("system", "runs", "seeds", "masks", "gain")
    explain = "mIoU of seeds and of masks in per cent, and the difference in percentage points."
    return [Table("Gain of masks over their seeds, at auto thresholds", heads, tuple(lines), explain)] if lines else []


def _label_tables(rows: Sequence[Row], known: Mapping[str, Sequence[Any]]) -> list[Table]:
    keys = ("objects above", "background below", "wrong objects", "wrong background", "open")
    lines = []
    for row in rows:
        runs = [value["labels"] for value in known[row.name] if value["labels"]]
        for rule in dict.fromkeys(rule for run in runs for rule in run):
            each = [run[rule] for run in runs if rule in run]
            cells = [
                cell([one.get(key) for one in each], *((1.0, 2) if index < 2 else ())) for index, key in enumerate(keys)
            ]
            name = "used for training, after the CRF" if rule == TRAINED_ON else rule
            lines.append((row.label, name, str(len(each)), *cells))
    heads = ("objects above", "background below", "wrong objects", "wrong background", "ignored")
    explain = (
        "Thresholds above which a pixel is labelled as an object, and below which as background; shares of the pixels "
        "with these labels that are wrong, and of all pixels that are ignored (neither), in per cent."
    )
    return [Table("Confident labels", ("system", "labels", "runs", *heads), tuple(lines), explain)] if lines else []
