from __future__ import annotations

from dataclasses import replace

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.engine.optimise import Sgd
from deft.recipes import psa, psa_deft, published
from deft.refine.psa import Psa


def test_psas_numbers() -> None:
    """The published settings, line by line."""
    pipeline = published(psa())
    classifier, plan, refine = pipeline.classifier, pipeline.classifier.plan, pipeline.refine
    assert isinstance(refine, Psa) and isinstance(classifier.head, LinearHead)
    assert classifier.pixels(500) == (448, (256, 512))
    assert (plan.epochs, plan.batch, classifier.jitter, classifier.head.dropout) == (15, 16, 0.3, 0.5)
    assert plan.optimiser == Sgd(lr=0.1, momentum=0.0, decay=5e-4) == refine.plan.optimiser
    assert sorted(pipeline.seeds.scales) == [0.5, 1.0, 1.5, 2.0] and pipeline.seeds.flip
    assert pipeline.seed_threshold == 0.20
    assert (refine.labels.alpha_low, refine.labels.alpha_high) == (4, 32)
    crf = refine.labels.crf
    assert (crf.iterations, crf.gaussian_sxy, crf.gaussian_compat) == (10, 3, 3)
    assert (crf.bilateral_sxy, crf.bilateral_srgb, crf.bilateral_compat) == (80, 13, 10)
    assert (refine.plan.epochs, refine.plan.batch) == (8, 8)
    assert (round(refine.crop * 500 / 32) * 32, refine.jitter, refine.flip) == (448, 0.3, True)
    assert (refine.stride, refine.radius, refine.beta, refine.walk_steps(500), refine.alpha) == (8, 5, 8, 256, 16)
    assert refine.background == 0.5
    assert psa() == replace(pipeline, seed_threshold="auto", refine=Psa())


def test_deft_changes_the_head_and_the_epochs() -> None:
    assert isinstance(psa_deft().classifier.head, DeftHead)
    assert psa_deft().classifier.plan.epochs == 10
    assert replace(psa_deft(), classifier=psa().classifier) == psa()
    plain = replace(psa_deft().classifier, head=psa().classifier.head, plan=psa().classifier.plan)
    assert plain == psa().classifier
