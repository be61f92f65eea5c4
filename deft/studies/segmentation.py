"""Table 2b of DEFT: the network trained on each system's pseudo-masks, on images it was told nothing of.

The paper does not name its network. Ours is a DeepLab (``segment``); its scores are of the held-out split, or of the
server for VOC's test split, which cannot be scored here: see ``deft voc-submit``.
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
    "Network trained on each system's pseudo-masks, alone and with DEFT (Table 2b)",
    NETWORK,
    Column("IoU", ("val", "segmentation", "iou")),
    "IoU of each class: network, val",
    paper="paper, VOC val / test",
    notes=("A network's masks have no threshold.",),
)


def segmentation(runner: StudyRunner) -> Outcome:
    """Run each system to its end and score the network on the held-out split.

    Raises:
        InputError: the data have no held-out split with ground truth.
    """
    val = runner.splits.val
    if val is None or not val.scored.any():
        raise InputError(
            f"--data {runner.data}: this study scores a network on held-out images with masks, and there are none; "
            "list some in val.txt, or take the study masks"
        )
    rows = [row for row in system_rows(PAPER) if row.pipeline.segment is not None]
    return runner.survey(runner.choose(rows, tuple(PAPER)), runner.make, LAYOUT.compose)
