"""Settings that make a recipe run to its end in seconds."""

from __future__ import annotations

from deft.augment import Cda, CoMixup, SuperMix
from deft.classify.deft import DeftHead
from deft.classify.drs import DrsHead
from deft.classify.sma import SmaHead
from deft.pipeline import Pipeline
from deft.refine.psa import Psa
from deft.seeds.advcam import AdvCam
from deft.seeds.rib import Rib
from deft.settings import assign


def plan(stage: str, steps: int = 2, epochs: int = 1, batch: int = 4) -> list[str]:
    """Settings that make the training of a stage short."""
    return [
        f"{stage}.plan.{item}" for item in (f"min_steps={steps}", f"epochs={epochs}", f"batch={batch}", "workers=0")
    ]


EAGER = ("fg=0.02", "bg=0.01", "crf.iterations=0")
"""Confident labels of maps that have learned little, without a CRF."""


def tiny(pipeline: Pipeline, *more: str, steps: int = 20) -> Pipeline:
    """A pipeline made short on a small network, with further settings behind those that do it.

    Args:
        pipeline: of a recipe.
        more: ``FIELD=VALUE``, as on the command line.
        steps: of the classifier's training; the other stages have two.
    """
    settings = ["backbone=test_resnet", "weights=none"]
    if pipeline.classifier is not None:
        settings += plan("classifier", steps, epochs=2)
        if isinstance(pipeline.classifier.head, DeftHead):
            settings += ["classifier.head.swap_epoch=2"]
        if isinstance(pipeline.classifier.head, SmaHead):
            settings += ["classifier.head.deft.swap_epoch=2"]
        if isinstance(getattr(pipeline.classifier.head, "base", None), DeftHead):
            settings += ["classifier.head.base.swap_epoch=2"]
        if isinstance(pipeline.classifier.head, DrsHead):
            settings += ["classifier.head.width=16", "classifier.plan.optimiser.lr=0.1"]
        if isinstance(pipeline.classifier.augment, Cda):
            settings += ["classifier.augment.share=(0.01, 1.0)"]  # so little is learned that a mask may be anything
        if isinstance(pipeline.classifier.augment, SuperMix):
            settings += ["classifier.augment.steps=1"]
        if isinstance(pipeline.classifier.augment, CoMixup):
            settings += ["classifier.augment.rounds=1"]
    if pipeline.frozen is not None:
        settings += ["frozen.side=64", "frozen.scales=(1.0,)"]
    if isinstance(pipeline.seeds, AdvCam):
        settings += ["seeds.iterations=2"]
    if hasattr(pipeline.seeds, "plan"):
        settings += plan("seeds")
    if hasattr(pipeline.seeds, "labels"):
        settings += [f"seeds.labels.{item}" for item in EAGER]
    if isinstance(getattr(pipeline.seeds, "base", None), AdvCam):
        settings += ["seeds.base.iterations=2", "seeds.base.scales=(1.0,)"]
    if isinstance(pipeline.seeds, Rib):
        settings += ["seeds.steps=2", "seeds.companions=2"]
    if hasattr(pipeline.seeds, "scales"):
        settings += ["seeds.scales=(1.0,)"]
    if pipeline.refine is not None:
        labels = EAGER[2:] if isinstance(pipeline.refine, Psa) else EAGER
        if hasattr(pipeline.refine, "plan"):
            settings += plan("refine") + [f"refine.labels.{item}" for item in labels]
    if pipeline.segment is not None:
        settings += [
            *plan("segment", batch=2),
            "segment.channels=16",
            "inference.scales=(1.0,)",
            "inference.flip=false",
        ]
    return assign(pipeline, [*settings, *more])
