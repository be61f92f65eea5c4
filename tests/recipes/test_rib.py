from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.recipes import irn, published, rib, rib_deft
from deft.refine.irn import Irn
from deft.seeds.rib import Rib


def test_ribs_numbers() -> None:
    """The published settings, line by line."""
    pipeline = published(rib())
    seeds, refine = pipeline.seeds, pipeline.refine
    assert isinstance(seeds, Rib) and isinstance(refine, Irn)
    assert pipeline.classifier == irn().classifier
    assert (seeds.steps, seeds.rate, seeds.decay, seeds.threshold, seeds.companions) == (10, 8e-6, 1e-4, 0.4, 20)
    assert (seeds.stop_loss, seeds.stop_score, seeds.stop_share) == (600, 0.3, 0.7)
    assert (refine.labels.fg, refine.labels.bg, refine.power, refine.background) == (0.35, 0.17, 1.3, 0.27)
    assert rib() == dataclasses.replace(pipeline, seed_threshold="auto", refine=Irn(power=1.3))


def test_deft_changes_the_classifier_alone() -> None:
    assert isinstance(rib_deft().own_classifier.head, DeftHead)
    assert dataclasses.replace(rib_deft(), classifier=rib().classifier) == rib()
