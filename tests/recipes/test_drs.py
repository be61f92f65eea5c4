from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.classify.drs import DrsHead
from deft.classify.linear import LinearHead
from deft.recipes import drs, drs_deft, irn
from deft.seeds.cam import Cam


def test_drss_numbers() -> None:
    """The published settings, line by line."""
    classifier, seeds = drs().own_classifier, drs().seeds
    assert classifier.head == DrsHead(base=LinearHead(), convs=3, width=512, delta=None)
    optimiser = classifier.plan.optimiser
    assert classifier.plan.epochs == 15
    assert (optimiser.lr, optimiser.momentum, optimiser.decay) == (0.01, 0.9, 5e-4)  # type: ignore[union-attr]
    assert isinstance(seeds, Cam) and [round(320 * scale) for scale in seeds.scales] == [256, 320, 384]
    assert dataclasses.replace(drs(), classifier=irn().classifier, seeds=irn().seeds) == irn()


def test_deft_is_the_base() -> None:
    classifier = drs_deft().own_classifier
    assert classifier.head == DrsHead(base=DeftHead())
    assert classifier.plan.epochs == 10
    assert dataclasses.replace(drs_deft(), classifier=drs().classifier) == drs()
