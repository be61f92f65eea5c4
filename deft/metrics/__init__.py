"""Metrics: dataset IoU and its threshold sweep, average precision, co-occurrence, and coverage without ground truth."""

from __future__ import annotations

from deft.metrics.classification import average_precision, mean_average_precision
from deft.metrics.cooccurrence import Cooccurrence, class_by_class, class_by_context
from deft.metrics.coverage import ClassCoverage, Coverage
from deft.metrics.miou import THRESHOLDS, Confusion, ThresholdSweep

__all__ = [
    "THRESHOLDS",
    "ClassCoverage",
    "Confusion",
    "Cooccurrence",
    "Coverage",
    "ThresholdSweep",
    "average_precision",
    "class_by_class",
    "class_by_context",
    "mean_average_precision",
]
