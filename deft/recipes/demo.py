"""The embedded data set's recipes: a small network from nothing, in minutes."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.deft import DeftHead
from deft.pipeline import Pipeline
from deft.recipes.irn import irn


def demo_cam() -> Pipeline:
    """Plain CAM on the embedded data set, up to the seeds' masks."""
    return replace(demo(), refine=None, segment=None)


def demo() -> Pipeline:
    """DEFT and IRN on the embedded data set."""
    base = irn()
    return replace(base, classifier=replace(base.classifier, head=DeftHead()), backbone="resnet10t", weights="none")
