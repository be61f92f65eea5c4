"""Table 1b of DEFT: seeds of one system whose classifier is trained with different augmentations.

The paper reports neither settings nor training length for its other rows. By default each row has its recipe's: 5
epochs, and 10 for DEFT, which swaps from the sixth. ``--set classifier.plan.epochs=10`` trains all rows equally long.
Later augmentations (Noisy Feature Mixup, Puzzle Mix, Co-Mixup, SuperMix) are rows that ``--systems`` adds: those that
look at gradients take several times as long as the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deft.studies.outcome import Outcome
from deft.studies.rows import system_rows, up_to_seeds
from deft.studies.runner import StudyRunner
from deft.studies.score_tables import SEEDS, Column, Layout

BASE, TWIN = "irn", "_deft"
PAPER = {
    BASE: "48.3",
    "mixup": "49.0",
    "manifold_mixup": "48.7",
    "cutout": "48.9",
    "cutmix": "49.2",
    "hide_and_seek": "",
    "cda": "50.8",
    "irn_deft": "52.3",
}
LAYOUT = Layout(
    "augmentations",
    "Seeds by the augmentation of the classifier (Table 1b)",
    SEEDS,
    Column("IoU", ("train", "seeds", "swept", "iou")),
    "IoU of each class: seeds of train, swept",
    paper="paper, VOC",
    curve=("train", "seeds"),
    notes=(
        "Each row is trained for the number of epochs in its recipe: 5, and 10 with DEFT, unless the settings above "
        "say otherwise. `--set classifier.plan.epochs=10` trains all rows equally long. The paper does not say which "
        "of the two it did, and has no row for Hide-and-Seek.",
    ),
)


def augmentations(runner: StudyRunner) -> Outcome:
    """Train a classifier with each augmentation and score its seeds."""
    runner.require_ground_truth()
    rows = runner.choose(system_rows(PAPER, runner.systems), tuple(PAPER))
    rows = [replace(row, pipeline=up_to_seeds(row.pipeline)) for row in rows]
    names = {row.label: row.name for row in rows}
    rows = [replace(row, against=tuple(names[one] for one in _rivals(row.label, list(names)))) for row in rows]
    return runner.survey(rows, runner.make, LAYOUT.compose)


def _rivals(name: str, chosen: Sequence[str]) -> tuple[str, ...]:
    """What a row is compared with: its augmentation without DEFT, no augmentation, and DEFT with all others."""
    plain = [other for other in chosen if not other.endswith(TWIN)]
    others = plain if name == BASE + TWIN else []
    rivals = dict.fromkeys([name.removesuffix(TWIN), BASE, *others])
    return tuple(rival for rival in rivals if rival in chosen and rival != name)
