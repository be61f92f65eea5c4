"""Table 1a of DEFT: the seeds of each system, alone and on DEFT's classifier."""

from __future__ import annotations

from dataclasses import replace

from deft.studies.outcome import Outcome
from deft.studies.rows import system_rows, up_to_seeds
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
LAYOUT = Layout(
    "localisation",
    "Seeds of each system, alone and with DEFT (Table 1a)",
    SEEDS,
    Column("IoU", ("train", "seeds", "swept", "iou")),
    "IoU of each class: seeds of train, swept",
    paper="paper, VOC",
    curve=("train", "seeds"),
    notes=("Seeds that are made alike (PSA and IRN both start from plain CAM) differ by a fixed threshold alone.",),
)


def localisation(runner: StudyRunner) -> Outcome:
    """Train each system's classifier and score its seeds; nothing behind them is made."""
    runner.need_truth()
    rows = runner.choose(system_rows(PAPER), tuple(PAPER))
    rows = [replace(row, pipeline=up_to_seeds(row.pipeline)) for row in rows]
    return runner.survey(rows, runner.make, LAYOUT.compose)
