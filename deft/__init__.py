"""From photographs and tags to masks: weakly supervised segmentation with disentangled feature swapping.

::

    images + labels ─ data ─► augment ─► classify ─► seeds ─► refine ─► pseudo-masks ─► segment ─► predict
                                                       └────────┴─────── metrics ◄─────────┘ ─► report

The names below are the public interface, and all that ``dir(deft)`` shows. They are imported when first used, so that
``import deft`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deft import recipes
    from deft.contracts import Dataset, InputError, LabelMap, Sample, SeedMaps, Splits
    from deft.data import ImageDataset, check, multi_hot, open_data
    from deft.engine.head import HeadModule
    from deft.engine.method import MethodContext
    from deft.notebook.show import show
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
    "ImageDataset": "deft.data",
    "open_data": "deft.data",
    "check": "deft.data",
    "multi_hot": "deft.data",
    "HeadModule": "deft.engine.head",
    "MethodContext": "deft.engine.method",
    "Pipeline": "deft.pipeline",
    "recipes": "deft.recipes",
    "run": "deft.runner.run",
    "show": "deft.notebook.show",
    "Predictor": "deft.predict.masks",
    "load": "deft.predict.masks",
    "Locator": "deft.predict.seeds",
    "load_locator": "deft.predict.seeds",
}

__all__ = [
    "Dataset",
    "HeadModule",
    "ImageDataset",
    "InputError",
    "LabelMap",
    "Locator",
    "MethodContext",
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
    "recipes",
    "run",
    "show",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        home = import_module(_HOME[name])
        return home if home.__name__ == f"deft.{name}" else getattr(home, name)
    raise AttributeError(f"module 'deft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
