"""From photographs and tags to masks: weakly supervised segmentation with disentangled feature swapping.

::

    images + labels ─ data ─► augment ─► classify ─► seeds ─► refine ─► pseudo-masks ─► segment ─► predict
                                                       └────────┴─────── metrics ◄─────────┘ ─► report

The names below are the public face, in the order of that picture. They are imported when first used, so that
``import deft`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deft.contracts import Dataset, InputError, LabelMap, Sample, SeedMaps, Splits
    from deft.data import check, multi_hot, open_data
    from deft.pipeline import Pipeline
    from deft.predict.masks import Predictor, load
    from deft.predict.seeds import Locator, load_locator
    from deft.runner.run import run

__version__ = "0.2.0"

_HOME = {
    "Sample": "deft.contracts",
    "Dataset": "deft.contracts",
    "Splits": "deft.contracts",
    "SeedMaps": "deft.contracts",
    "LabelMap": "deft.contracts",
    "InputError": "deft.contracts",
    "open_data": "deft.data",
    "check": "deft.data",
    "multi_hot": "deft.data",
    "Pipeline": "deft.pipeline",
    "run": "deft.runner.run",
    "Predictor": "deft.predict.masks",
    "load": "deft.predict.masks",
    "Locator": "deft.predict.seeds",
    "load_locator": "deft.predict.seeds",
}

__all__ = [
    "Dataset",
    "InputError",
    "LabelMap",
    "Locator",
    "Pipeline",
    "Predictor",
    "Sample",
    "SeedMaps",
    "Splits",
    "check",
    "load",
    "load_locator",
    "multi_hot",
    "open_data",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'deft' has no attribute {name!r}")
