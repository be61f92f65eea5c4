"""SEAM (Wang et al., 2020, arXiv:2004.04581), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead
from deft.classify.seam import SeamHead
from deft.engine.optimise import Sgd
from deft.engine.plan import Plan
from deft.pipeline import Pipeline
from deft.refine.psa import Psa


def seam() -> Pipeline:
    """SEAM: class maps that agree at two sizes, averaged over cells that look alike; refined by PSA.

    Paper: Wang et al., 2020, arXiv:2004.04581.
    """
    plan = Plan(epochs=8, min_steps=360, batch=8, optimiser=Sgd(lr=0.01, momentum=0.0, decay=5e-4))
    return Pipeline(
        classifier=Classifier(
            head=SeamHead(),
            plan=plan,
            crop=0.9,  # 448 of 500 pixels
            long_side=(0.896, 1.536),  # 448 to 768
            jitter=0.3,
        ),
        refine=Psa(steps=64),
    )


def seam_deft() -> Pipeline:
    """SEAM on a DEFT classifier: the object scores f_fg of both views are made to agree.

    Paper: Wang et al., 2020, arXiv:2004.04581; DEFT, see irn_deft.
    """
    base = seam()
    classifier = base.own_classifier
    plan = replace(classifier.plan, epochs=10)  # DEFT's, swapping from the sixth
    return replace(base, classifier=replace(classifier, head=SeamHead(base=DeftHead()), plan=plan))
