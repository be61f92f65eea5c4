from __future__ import annotations

import dataclasses

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.seam import SeamHead
from deft.recipes import published, seam, seam_deft
from deft.refine.psa import Psa


def test_seams_numbers() -> None:
    """The published settings, line by line."""
    classifier, refine = seam().own_classifier, published(seam()).refine
    head, plan = classifier.head, classifier.plan
    assert isinstance(head, SeamHead) and head.base == LinearHead(dropout=0.5)
    assert (head.scale, head.widths, head.width) == (0.3, (64, 128), 192)
    assert (head.consistency, head.cross, head.hardest, head.quiet, head.lowest) == (1.0, 1.0, 0.2, 1.0, 0.25)
    assert (plan.epochs, plan.batch, plan.optimiser.lr, plan.optimiser.decay) == (8, 8, 0.01, 5e-4)
    assert classifier.pixels(500) == (448, (448, 768))
    assert classifier.jitter == 0.3
    assert isinstance(refine, Psa)
    assert (refine.labels.alpha_low, refine.labels.alpha_high, refine.alpha, refine.beta) == (4.0, 24.0, 6.0, 8.0)
    assert refine.steps == 2**6
    assert published(seam()).seed_threshold == 0.26
    assert published(dataclasses.replace(seam(), refine=None)).seed_threshold == 0.26


def test_deft_is_the_base() -> None:
    classifier = seam_deft().own_classifier
    assert classifier.head == SeamHead(base=DeftHead())
    assert classifier.plan.epochs == 10
    plan = dataclasses.replace(classifier.plan, epochs=8)
    same = dataclasses.replace(classifier, head=SeamHead(), plan=plan)
    assert dataclasses.replace(seam_deft(), classifier=same) == seam()
