"""Table 4 of DEFT: ablation of its loss terms, measured on seeds.

``disentangle`` has the four losses of Eq. 3 and no swap. The paper adds the background swap and then the object swap.
Two rows are not in the paper: the object swap alone, and ``base_long`` (made only on request), the base system trained
for as many epochs as DEFT, which separates the effect of the terms from that of the longer training.
"""

from __future__ import annotations

from dataclasses import replace

from deft.classify.deft import DeftHead
from deft.pipeline import Pipeline
from deft.studies.outcome import Outcome
from deft.studies.rows import Row, recipe, up_to_seeds
from deft.studies.runner import StudyRunner
from deft.studies.score_tables import SEEDS, Column, Layout

LAYOUT = Layout(
    "ablation",
    "Ablation of DEFT's loss terms (Table 4)",
    SEEDS,
    Column("IoU", ("train", "seeds", "swept", "iou")),
    "IoU of each class: seeds of train, swept",
    paper="paper, VOC",
    curve=("train", "seeds"),
)
DEFAULT = ("base", "disentangle", "background_swap", "object_swap", "both_swaps")


def ablation(runner: StudyRunner) -> Outcome:
    """Train DEFT's classifier with and without each term and score its seeds."""
    runner.require_ground_truth()
    base, deft = recipe("irn"), recipe("irn_deft")
    plain, epochs = base.own_classifier, deft.own_classifier.plan.epochs
    long = replace(base, classifier=replace(plain, plan=replace(plain.plan, epochs=epochs)))
    rows = [
        Row("base", "base", base, paper="48.0"),
        Row("base_long", f"base, {epochs} epochs", long, ("base",)),
        Row("disentangle", "+ disentangling", _swapping(deft, False, False), ("base", "base_long"), "49.8"),
        Row("background_swap", "+ background swap", _swapping(deft, True, False), ("disentangle", "base"), "50.9"),
        Row("object_swap", "+ object swap only", _swapping(deft, False, True), ("disentangle", "base")),
        Row("both_swaps", "+ both swaps (DEFT)", deft, ("background_swap", "disentangle", "base", "base_long"), "52.3"),
    ]
    chosen = runner.choose(rows, DEFAULT)
    chosen = [replace(row, pipeline=up_to_seeds(row.pipeline)) for row in chosen]
    return runner.survey(chosen, runner.make, LAYOUT.compose)


def _swapping(pipeline: Pipeline, background: bool, objects: bool) -> Pipeline:
    """The same pipeline with some of DEFT's swaps turned off."""
    classifier = pipeline.own_classifier
    assert isinstance(classifier.head, DeftHead)
    weights = classifier.head.swap_background_weight, classifier.head.swap_object_weight
    head = replace(
        classifier.head,
        swap_background_weight=weights[0] if background else 0.0,
        swap_object_weight=weights[1] if objects else 0.0,
    )
    return replace(pipeline, classifier=replace(classifier, head=head))
