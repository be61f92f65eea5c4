"""Table 4 of DEFT: ablation of its loss terms, measured on seeds.

``disentangle`` has the four losses of Eq. 3 and no swap. The paper adds the background swap and then the object swap.
The other rows are not in the paper. Three are controls, each with a part of DEFT: ``base_stretched`` is the base
system's classifier, read as DEFT's default reads its own; ``background`` is a linear classifier with the targets of
f_bg, read alike, without attention and swaps; ``no_background`` is DEFT with swaps that see no background, which leaves
of them a second classifier of the object vector. ``object_swap`` has the object swap alone. ``base_long`` (made only on
request) is the base system trained for as many epochs as DEFT, which separates the effect of the terms from that of the
longer training.
"""

from __future__ import annotations

from dataclasses import replace

from deft.classify.deft import DeftHead
from deft.classify.linear import BackgroundHead, LinearHead
from deft.classify.swap_forms import ObjectSwap
from deft.engine.head import Head
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
DEFAULT = (
    "base",
    "base_stretched",
    "background",
    "disentangle",
    "background_swap",
    "object_swap",
    "no_background",
    "both_swaps",
)


def ablation(runner: StudyRunner) -> Outcome:
    """Train DEFT's classifier with and without each term and score its seeds."""
    runner.require_ground_truth()
    base, deft = recipe("irn"), recipe("irn_deft")
    plain, epochs = base.own_classifier, deft.own_classifier.plan.epochs
    long = replace(base, classifier=replace(plain, plan=replace(plain.plan, epochs=epochs)))
    assert isinstance(plain.head, LinearHead)
    rows = [
        Row("base", "base", base, paper="48.0"),
        Row("base_stretched", "base, read as DEFT", _with_head(base, replace(plain.head, stretched=True)), ("base",)),
        Row("background", "f_bg alone, without attention", _with_head(base, BackgroundHead()), ("base",)),
        Row("base_long", f"base, {epochs} epochs", long, ("base",)),
        Row("disentangle", "+ disentangling", _swapping(deft, False, False), ("base", "base_long"), "49.8"),
        Row("background_swap", "+ background swap", _swapping(deft, True, False), ("disentangle", "base"), "50.9"),
        Row("object_swap", "+ object swap only", _swapping(deft, False, True), ("disentangle", "base")),
        Row(
            "no_background",
            "+ swaps without background",
            _with_head(deft, replace(_deft_head(deft), swap_head=ObjectSwap())),
            ("disentangle", "base"),
        ),
        Row(
            "both_swaps",
            "+ both swaps (DEFT)",
            deft,
            ("background_swap", "no_background", "disentangle", "base", "base_long"),
            "52.3",
        ),
    ]
    chosen = runner.choose(rows, DEFAULT)
    chosen = [replace(row, pipeline=up_to_seeds(row.pipeline)) for row in chosen]
    return runner.survey(chosen, runner.make, LAYOUT.compose)


def _swapping(pipeline: Pipeline, background: bool, objects: bool) -> Pipeline:
    """The same pipeline with some of DEFT's swaps turned off."""
    head = _deft_head(pipeline)
    weights = head.swap_background_weight if background else 0.0, head.swap_object_weight if objects else 0.0
    return _with_head(pipeline, replace(head, swap_background_weight=weights[0], swap_object_weight=weights[1]))


def _with_head(pipeline: Pipeline, head: Head) -> Pipeline:
    """The same pipeline with another head of its classifier."""
    return replace(pipeline, classifier=replace(pipeline.own_classifier, head=head))


def _deft_head(pipeline: Pipeline) -> DeftHead:
    """The head of a classifier that is trained with DEFT."""
    head = pipeline.own_classifier.head
    assert isinstance(head, DeftHead)
    return head
