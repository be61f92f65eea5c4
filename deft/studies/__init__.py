"""Studies: each makes the runs for one table or figure of the paper, on any dataset, and writes the results.

A study is a function that takes a :class:`~deft.studies.runner.StudyRunner` and returns an
:class:`~deft.studies.outcome.Outcome`.
"""

from __future__ import annotations

from collections.abc import Callable

from deft.studies.ablation import ablation
from deft.studies.activation import activation
from deft.studies.augmentations import augmentations
from deft.studies.bias import bias
from deft.studies.context import context
from deft.studies.localisation import localisation
from deft.studies.manifold import manifold
from deft.studies.masks import masks
from deft.studies.outcome import Outcome, Plot, Table
from deft.studies.rows import Finding, Row
from deft.studies.runner import StudyRunner
from deft.studies.segmentation import segmentation
from deft.studies.thresholds import thresholds

STUDIES: dict[str, Callable[[StudyRunner], Outcome]] = {
    "localisation": localisation,
    "augmentations": augmentations,
    "masks": masks,
    "segmentation": segmentation,
    "ablation": ablation,
    "context": context,
    "activation": activation,
    "manifold": manifold,
    "bias": bias,
    "thresholds": thresholds,
}
"""The studies of ``deft study``, by name."""

__all__ = ["STUDIES", "Finding", "Outcome", "Plot", "Row", "StudyRunner", "Table"]
