"""Table 2a of DEFT: pseudo-masks of each system, with its own classifier and with DEFT's."""

from __future__ import annotations

from dataclasses import replace

from deft.studies.outcome import Outcome
from deft.studies.rows import beside_irn, system_rows
from deft.studies.runner import StudyRunner
from deft.studies.score_tables import MASKS, Column, Layout

PAPER = {
    "psa": "61.0",
    "psa_deft": "64.2",
    "irn": "66.3",
    "irn_deft": "68.6",
    "advcam": "69.9",
    "advcam_deft": "",
    "amn": "72.2",
    "amn_deft": "72.8",
}
BEYOND = {"rib": "70.6", "seam": "63.6", "clip_text": "75.0"}
"""What the papers of further systems report for their own pseudo-masks; rows that ``--systems`` adds."""
LAYOUT = Layout(
    "masks",
    "Pseudo-masks of each system, without and with DEFT (Table 2a)",
    MASKS,
    Column("IoU", ("train", "masks", "used", "iou")),
    "IoU of each class: masks of train at the run's threshold",
    paper="paper, VOC",
    curve=("train", "masks"),
    counted="masks",
)


def masks(runner: StudyRunner) -> Outcome:
    """Make and score each system's pseudo-masks; no segmentation network is trained on them."""
    runner.require_ground_truth()
    rows = beside_irn(runner.choose(system_rows(PAPER | BEYOND, runner.systems), tuple(PAPER)), PAPER)
    rows = [replace(row, pipeline=replace(row.pipeline, segment=None)) for row in rows]
    return runner.survey(rows, runner.make, LAYOUT.compose)
