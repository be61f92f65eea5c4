"""Table 2b of DEFT: the segmentation network trained on each system's pseudo-masks, scored on held-out images.

The paper does not name its network; here it is a DeepLab (``segment``), scored on the held-out split. VOC's test split
is scored by its evaluation server only: see ``deft voc-submit``.
"""

from __future__ import annotations

from deft.contracts import InputError
from deft.studies.outcome import Outcome
from deft.studies.rows import system_rows
from deft.studies.runner import StudyRunner
from deft.studies.score_tables import NETWORK, Column, Layout

PAPER = {
    "psa": "61.7 / 63.7",
    "psa_deft": "65.9 / 66.8",
    "irn": "63.5 / 64.8",
    "irn_deft": "69.1 / 68.7",
}
LAYOUT = Layout(
    "segmentation",
    "Segmentation network trained on each system's pseudo-masks, without and with DEFT (Table 2b)",
    NETWORK,
    Column("IoU", ("val", "segmentation", "iou")),
    "IoU of each class: network, val",
    paper="paper, VOC val / test",
    counted="network",
    notes=("The masks of a segmentation network involve no threshold.",),
)


def segmentation(runner: StudyRunner) -> Outcome:
    """Run all stages of each system and score its segmentation network on the held-out split.

    Raises:
        InputError: the dataset has no held-out split with ground truth.
    """
    val = runner.splits.val
    if val is None or not val.scored.any():
        raise InputError(
            f"--data {runner.data}: expected held-out images with ground-truth masks to score the segmentation network "
            "on, got none; list some in val.txt, or run the study masks"
        )
    rows = [row for row in system_rows(PAPER, runner.systems) if row.pipeline.segment is not None]
    return runner.survey(runner.choose(rows, tuple(PAPER)), runner.make, LAYOUT.compose)
