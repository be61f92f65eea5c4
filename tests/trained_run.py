"""A finished run with tiny networks, put together by hand instead of trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deft.artifacts import write_json
from deft.classify.classifier import save_classifier
from deft.classify.deft import DeftHead
from deft.pipeline import Pipeline
from deft.recipes import irn_deft
from deft.segment.deeplab import save_network
from deft.settings import assign, plain
from fakes import classifier, segmenter

CLASSES = ("cat", "cow", "dog")


def pipeline(*settings: str) -> Pipeline:
    """What the run was made with."""
    return assign(irn_deft(), ["backbone=test_resnet", "weights=none", "classifier.head.maps=8", *settings])


def write_run(run: Path, made_with: Pipeline | None = None, **more: Any) -> Path:
    """A finished run without its masks and maps."""
    made_with = made_with or pipeline()
    if made_with.segment is not None:
        save_network(run / "segment" / "model.safetensors", segmenter(), CLASSES, "key")
    if made_with.classifier is not None:
        save_classifier(run / "classifier" / "model.safetensors", classifier(DeftHead(maps=8)), CLASSES, "key")
    record = {
        "recipe": "irn_deft",
        "settings": plain(made_with),
        "data": {"given": "folder:/home/jane/birds", "images": 8, "held out": 4, "classes": list(CLASSES)},
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
        "thresholds": {"seeds": {"threshold": 0.3, "chosen": "auto"}},
    }
    write_json(run / "run.json", record | more)
    return run
