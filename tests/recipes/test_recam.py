from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.recipes import irn, published, recam, recam_deft
from deft.refine.irn import Irn
from deft.seeds.cam import Cam
from deft.seeds.recam import ReCam


def test_recams_numbers() -> None:
    """The published settings, line by line."""
    pipeline = published(recam())
    seeds, refine = pipeline.seeds, pipeline.refine
    assert isinstance(seeds, ReCam) and isinstance(refine, Irn) and seeds.base == Cam()
    assert (seeds.plan.epochs, seeds.plan.batch, seeds.weight) == (4, 16, 1.0)
    assert (ReCam().plan.optimiser.lr, ReCam().slower) == (5e-4, 0.1)
    assert (seeds.plan.optimiser.lr, seeds.slower) == (0.05, 0.01)  # for fewer steps
    assert pipeline.seed_threshold == 0.21
    assert (refine.labels.fg, refine.labels.bg, refine.background) == (0.35, 0.10, 0.28)
    classifier = dataclasses.replace(irn().own_classifier, freeze_stride=2)
    assert dataclasses.replace(recam(), seeds=Cam()) == dataclasses.replace(irn(), classifier=classifier)


def test_deft_changes_the_classifier_alone() -> None:
    assert isinstance(recam_deft().own_classifier.head, DeftHead)
    assert dataclasses.replace(recam_deft(), classifier=recam().classifier) == recam()
