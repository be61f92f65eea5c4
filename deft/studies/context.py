"""Table 3 of DEFT: scores of a class on images with its usual context and without it.

The paper reports a co-occurrence ratio and one mIoU per pair. The ratio fits the paper's own counts under only one of
two definitions, see :mod:`deft.metrics.cooccurrence`; both are reported here. Its mIoU, 68 to 87, is far above that of
any masks over all classes, and the paper does not say which classes it averages. Three readings are reported: the IoU
of the pair's class, its mean with the background's IoU, and the mean over all classes, each from one confusion matrix
over the images of the pair.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deft.artifacts import load_mask, load_seeds, write_json
from deft.contracts import InputError, Sample
from deft.engine.infer import for_each
from deft.evaluate.stored import swept_threshold
from deft.metrics import Confusion, Cooccurrence, class_by_context
from deft.report.plots import bar_chart
from deft.seedmaps import full_mask
from deft.stages.context import Run
from deft.stages.truth import usable_truth
from deft.studies.markdown import escape_markdown
from deft.studies.outcome import NOTHING, Outcome, Plot, Table, cell, finite
from deft.studies.pairs import AT_LEAST, PAPER, SIDES, Pair, context_labels, find_pairs
from deft.studies.rows import Finding, Row, system_rows
from deft.studies.runner import StudyRunner
from deft.studies.score_tables import Column, difference, mean_and_spread

SYSTEMS = ("cam", "irn", "irn_deft")
RECORD = "context.json"
MAPS = {"masks": "masks at the run's threshold", "seeds": "seeds at the swept threshold"}
MEASURES = {
    "class": "IoU of the class",
    "two": "mean IoU of the class and the background",
    "all": "mean IoU of all classes",
}


def context(runner: StudyRunner) -> Outcome:
    """Score each system's masks and seeds on images with and without the usual context.

    Raises:
        InputError: the dataset has no contexts or no ground truth, or too few images of every pair.
    """
    runner.require_ground_truth()
    train = runner.splits.train
    present = context_labels(train)
    table = class_by_context(train.labels, present, train.classes, train.contexts)
    pairs = find_pairs(train, present, table)
    if not pairs:
        raise InputError(
            f"--data {runner.data}: expected a class with at least {AT_LEAST} images that have masks and show the same "
            "context, got none; add images or masks"
        )
    rows = runner.choose(system_rows(systems=runner.systems), SYSTEMS)
    rows = [replace(row, pipeline=replace(row.pipeline, segment=None)) for row in rows]

    def work(row: Row, seed: int) -> None:
        with runner.run(row.name, row.pipeline, seed) as run:
            write_json(run.out.path / RECORD, finite(measure(run, pairs)))

    def compose(findings: Sequence[Finding]) -> Outcome:
        return _outcome(findings, pairs, table)

    return runner.survey(rows, work, compose, RECORD)


def measure(run: Run, pairs: Sequence[Pair]) -> dict[str, Any]:
    """IoUs of each pair with and without the context, of masks and of seeds at the split's best threshold."""
    data, classes = run.train, len(run.train.classes)
    swept = swept_threshold(run.out.path)
    seeds, masks = run.files("seeds", data, ".npz", "train"), run.files("masks", data, ".png")
    totals = {(pair.name, side, kind): Confusion(classes) for pair in pairs for side in pair.sides() for kind in MAPS}
    lock = threading.Lock()

    def work(index: int, sample: Sample) -> None:
        if sample.mask is None:
            return
        found = {
            "masks": load_mask(masks[index]),
            "seeds": full_mask(load_seeds(seeds[index]), swept),
        }
        for kind, mask in found.items():
            one = Confusion(classes)
            one.update(mask, sample.mask)
            with lock:
                for pair in pairs:
                    for side, members in pair.sides().items():
                        if members[index]:
                            totals[pair.name, side, kind] += one

    used = np.any([members for pair in pairs for members in pair.sides().values()], axis=0)
    for_each(usable_truth(data), [int(index) for index in np.flatnonzero(used)], work, title="pairs")
    return {
        pair.name: {
            side: {kind: _ious(totals[pair.name, side, kind], pair.row) for kind in MAPS}
            for side, members in pair.sides().items()
            if int(members.sum()) >= AT_LEAST
        }
        for pair in pairs
    }


def _ious(confusion: Confusion, k: int) -> dict[str, float]:
    iou = confusion.iou()
    return {
        "class": float(iou[k + 1]),
        "two": float((iou[0] + iou[k + 1]) / 2),
        "all": confusion.miou(),
    }


def _outcome(findings: Sequence[Finding], pairs: Sequence[Pair], table: Cooccurrence) -> Outcome:
    rows = list({each.row.name: each.row for each in findings}.values())
    known = {
        row.name: {each.seed: each.value for each in findings if each.row.name == row.name and each.value}
        for row in rows
    }
    counts = "; ".join(f"{row.label} {len(known[row.name])}" for row in rows)
    tables = [
        _pair_table(pairs, table),
        *(_score_table(pairs, rows, known, kind, what, counts) for kind in MAPS for what in MEASURES),
        *(
            _difference_table(pairs, row, base, known)
            for row in rows
            for base in rows
            if base.name in row.against and known[row.name].keys() & known[base.name].keys()
        ),
    ]
    notes = (
        "A pair is a class and a context: for each class its most frequent context, its most frequent context among "
        f"those with at least {AT_LEAST} images both with and without it, and the paper's pairs. Sets of fewer than "
        f"{AT_LEAST} scored images have no score. Images are training images, and their image-level labels are given.",
        "*Masks* are at the run's threshold. *Seeds* are at the one threshold of 100 that is best on the whole "
        "training split, chosen on the same ground truth that scores them.",
        "The paper's mIoU is that of masks on VOC 2012 with ResNet-50; it does not say which classes it averages.",
    )
    return Outcome(
        "context",
        "Classes with and without their usual context (Table 3)",
        tuple(tables),
        tuple(_plots(pairs, rows, known)),
        notes,
        {row.name: {str(seed): value for seed, value in known[row.name].items()} for row in rows},
    )


def _pair_table(pairs: Sequence[Pair], table: Cooccurrence) -> Table:
    of_images, of_labels = table.share_of_images(), table.share_of_labels()
    cells = []
    for pair in pairs:
        at = pair.row, pair.column
        sizes = (str(int(pair.together.sum())), str(int(pair.apart.sum())))
        paper = PAPER.get((table.rows[pair.row], table.columns[pair.column]), NOTHING)
        cells.append((escape_markdown(pair.name), *sizes, f"{of_images[at]:.2f}", f"{of_labels[at]:.2f}", paper))
    heads = (
        "class, context",
        "images with",
        "images without",
        "share of the class's images",
        "share of its contexts",
        "paper, VOC",
    )
    return Table(
        "Pairs",
        heads,
        tuple(cells),
        "Two co-occurrence ratios: the share of the class's images that show the context, and the share of this "
        "context among all context labels of the class's images. The paper's ratio fits the second.",
    )


def _column(pair: Pair, side: str, kind: str, what: str) -> Column:
    return Column(what, (pair.name, side, kind, what))


def _score_table(
    pairs: Sequence[Pair],
    rows: Sequence[Row],
    known: Mapping[str, Mapping[int, Any]],
    kind: str,
    what: str,
    counts: str,
) -> Table:
    cells: list[tuple[str, ...]] = []
    sums: dict[tuple[str, str], list[list[float | None]]] = {}
    for pair in pairs:
        line = [escape_markdown(pair.name)]
        for row in rows:
            for side in pair.sides():
                values = [_column(pair, side, kind, what).of(one) for one in known[row.name].values()]
                sums.setdefault((row.name, side), []).append(values)
                line.append(cell(values))
        cells.append(tuple(line))
    columns = [(row.name, side) for row in rows for side in SIDES]
    every = [_over_pairs(sums[column]) if column[1] == "with" else [] for column in columns]
    cells.append(("mean over pairs", *map(cell, every)))
    both = [index for index, pair in enumerate(pairs) if int(pair.apart.sum()) >= AT_LEAST]
    if both:
        means = [_over_pairs([sums[column][index] for index in both]) for column in columns]
        cells.append(("mean over pairs with both sides", *map(cell, means)))
    heads = ("class, context", *(f"{row.label}, {side}" for row in rows for side in SIDES))
    explain = f"Per cent, mean ± standard deviation over random seeds; runs: {counts}."
    title = f"{MEASURES[what][0].upper()}{MEASURES[what][1:]}: {MAPS[kind]}"
    return Table(title, heads, tuple(cells), explain)


def _over_pairs(values: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Mean over the pairs that have a score, for each seed."""
    seeds = list(zip(*values, strict=True))
    scored = [[value for value in seed if value is not None and not np.isnan(value)] for seed in seeds]
    return [float(np.mean(seed)) if seed else None for seed in scored]


def _difference_table(pairs: Sequence[Pair], row: Row, base: Row, known: Mapping[str, Mapping[int, Any]]) -> Table:
    both = sorted(known[row.name].keys() & known[base.name].keys())
    chosen = [(kind, what) for kind in MAPS for what in ("class", "two")]
    cells = tuple(
        (
            escape_markdown(pair.name),
            *(
                difference(_column(pair, "with", kind, what), known[row.name], known[base.name], both)
                for kind, what in chosen
            ),
        )
        for pair in pairs
    )
    return Table(
        f"{row.label} vs. {base.label}, seed by seed, on the images with the context",
        ("class, context", *(f"{MAPS[kind]}: {MEASURES[what]}" for kind, what in chosen)),
        cells,
        "Score of the first system minus that of the second: mean ± standard deviation over pairs of runs with the "
        "same seed, and the number of seeds with a positive difference.",
    )


def _plots(pairs: Sequence[Pair], rows: Sequence[Row], known: Mapping[str, Mapping[int, Any]]) -> list[Plot]:
    shown = [row for row in rows if known[row.name]]
    if not shown:
        return []
    plots = []
    for side in SIDES:
        bars = {
            pair.name: [
                mean_and_spread([_column(pair, side, "masks", "class").of(one) for one in known[row.name].values()])
                for row in shown
            ]
            for pair in pairs
        }
        bars = {name: values for name, values in bars.items() if not all(np.isnan(mean) for mean, _ in values)}
        if bars:
            png = bar_chart(bars, [row.label for row in shown], "IoU of the class, masks at the run's threshold, %")
            names = ", ".join(row.label for row in shown)
            plots.append(Plot(side, png, f"IoU of each pair's class on its images {side} the context, of {names}"))
    return plots
