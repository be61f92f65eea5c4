from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.recipes import advcam, advcam_deft, irn, published
from deft.refine.irn import Irn
from deft.seeds.advcam import AdvCam


def test_advcams_numbers() -> None:
    """The published settings, line by line."""
    pipeline = published(advcam())
    seeds, refine = pipeline.seeds, pipeline.refine
    assert isinstance(seeds, AdvCam) and isinstance(refine, Irn)
    assert isinstance(pipeline.own_classifier.head, LinearHead)
    assert (pipeline.backbone, pipeline.stride, pipeline.seed_threshold) == ("resnet50", 16, 0.15)
    assert dataclasses.replace(pipeline.own_classifier, freeze_stride=8) == irn().classifier
    assert pipeline.own_classifier.freeze_stride == 2
    assert (seeds.scales, seeds.flip, seeds.iterations, seeds.small_weight) == ((0.5, 1.0, 1.5, 2.0), True, 27, 2)
    assert (seeds.step, seeds.threshold, seeds.coefficient) == (0.08, 0.5, 7)
    assert (refine.labels.fg, refine.labels.bg, refine.power, refine.background) == (0.35, 0.15, 1.5, 0.25)
    assert advcam() == dataclasses.replace(pipeline, seed_threshold="auto", refine=Irn(power=1.5))


def test_deft_changes_the_classifier_and_the_score_that_is_climbed() -> None:
    assert isinstance(advcam_deft().own_classifier.head, DeftHead)
    assert advcam_deft().own_classifier.plan.epochs == 10
    assert advcam_deft().seeds == AdvCam(rectified=False)
    same = dataclasses.replace(advcam_deft(), classifier=advcam().classifier, seeds=AdvCam())
    assert same == advcam()
