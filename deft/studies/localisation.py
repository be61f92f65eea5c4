"""Table 1a of DEFT: seeds of each system, with its own classifier and with DEFT's."""

from __future__ import annotations

from dataclasses import replace

from deft.studies.outcome import Outcome
from deft.studies.rows import beside_irn, system_rows, up_to_seeds
from deft.studies.runner import StudyRunner
from deft.studies.score_tables import SEEDS, Column, Layout

PAPER = {
    "psa": "48.0",
    "psa_deft": "51.6",
    "irn": "48.3",
    "irn_deft": "52.3",
    "advcam": "55.6",
    "advcam_deft": "57.0",
    "amn": "62.1",
    "amn_deft": "64.3",
}
BEYOND = {"rib": "56.5", "sipe": "58.6", "seam": "55.4", "clip_text": "70.8"}
"""What the papers of further systems report for their own seeds; rows that ``--systems`` adds."""
LAYOUT = Layout(
    "localisation",
    "Seeds of each system, without and with DEFT (Table 1a)",
    SEEDS,
    Column("IoU", ("train", "seeds", "swept", "iou")),
    "IoU of each class: seeds of train, swept",
    paper="paper, VOC",
    curve=("train", "seeds"),
    notes=(
        "PSA and IRN both start from plain CAM: with equal settings, their seeds differ only in a fixed threshold.",
    ),
)


def localisation(runner: StudyRunner) -> Outcome:
    """Train each system's classifier and score its seeds; later stages are not made."""
    runner.require_ground_truth()
    rows = beside_irn(runner.choose(system_rows(PAPER | BEYOND, runner.systems), tuple(PAPER)), PAPER)
    rows = [replace(row, pipeline=up_to_seeds(row.pipeline)) for row in rows]
    return runner.survey(rows, runner.make, LAYOUT.compose)
