"""Thresholds chosen without masks, from class maps and their images."""

from __future__ import annotations

from deft.thresholds.auto import AUTO, Threshold, check_threshold, number
from deft.thresholds.criterion import (
    CONFIDENT,
    CRITERIA,
    LONGER,
    Choice,
    best_of,
    choose,
    choose_confident,
    choose_refined,
    needed,
)
from deft.thresholds.cuts import Cuts, Tuned, read_tuned, write_tuned
from deft.thresholds.statistics import MapStatistics, kept_statistics, measure, stored_statistics

__all__ = [
    "AUTO",
    "CONFIDENT",
    "CRITERIA",
    "LONGER",
    "Choice",
    "Cuts",
    "MapStatistics",
    "Threshold",
    "Tuned",
    "best_of",
    "check_threshold",
    "choose",
    "choose_confident",
    "choose_refined",
    "kept_statistics",
    "measure",
    "needed",
    "number",
    "read_tuned",
    "stored_statistics",
    "write_tuned",
]
