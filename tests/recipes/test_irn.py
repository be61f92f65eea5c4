from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.recipes import cam, irn, irn_deft, published
from deft.refine.irn import Irn


def test_irns_numbers() -> None:
    """The published settings, line by line."""
    pipeline = published(irn())
    plan, refine = pipeline.classifier.plan, pipeline.refine
    assert isinstance(refine, Irn)
    assert (pipeline.backbone, pipeline.stride, pipeline.seed_threshold) == ("resnet50", 16, 0.15)
    assert pipeline.classifier.pixels(500) == (512, (320, 640))
    assert (plan.epochs, plan.batch) == (5, 16)
    assert (plan.optimiser.lr, plan.optimiser.decay) == (0.1, 1e-4)
    assert pipeline.seeds.scales == (0.5, 1.0, 1.5, 2.0)
    assert (refine.labels.fg, refine.labels.bg, refine.labels.gt_prob) == (0.30, 0.05, 0.7)
    crf = refine.labels.crf
    assert (crf.gaussian_sxy, crf.gaussian_compat) == (3, 3)
    assert (crf.bilateral_sxy, crf.bilateral_srgb, crf.bilateral_compat) == (50, 5, 10)
    assert (refine.train_radius, refine.radius, refine.beta, refine.walk_steps(500)) == (10, 5, 10, 256)
    assert (refine.background, refine.edge_lr, refine.displacement_lr) == (0.25, 1, 10)
    assert refine.scale == (0.5, 1.5)
    assert irn() == dataclasses.replace(pipeline, seed_threshold="auto", refine=Irn())


def test_variants_change_what_they_say() -> None:
    assert isinstance(cam().classifier.head, LinearHead)
    assert cam().refine is None
    assert isinstance(irn_deft().classifier.head, DeftHead)
    assert dataclasses.replace(irn_deft(), classifier=irn().classifier) == irn()
