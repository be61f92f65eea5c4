"""PSA (Ahn and Kwak, 2018, arXiv:1803.10464), and PSA with DEFT."""

from __future__ import annotations

from deft.classify.classifier import Classifier
from deft.classify.linear import LinearHead
from deft.engine.optimise import Sgd
from deft.engine.plan import Plan
from deft.pipeline import Pipeline
from deft.recipes.irn import with_deft
from deft.refine.psa import Psa


def psa() -> Pipeline:
    """PSA: class activation maps and a background map, spread by a random walk along learned affinities.

    Paper: Ahn and Kwak, 2018, arXiv:1803.10464.
    """
    plan = Plan(epochs=15, min_steps=360, batch=16, optimiser=Sgd(lr=0.1, momentum=0.0, decay=5e-4))
    return Pipeline(
        classifier=Classifier(
            head=LinearHead(dropout=0.5),
            plan=plan,
            crop=0.9,  # 448 of 500 pixels
            long_side=(0.512, 1.024),  # 256 to 512
            jitter=0.3,
        ),
        refine=Psa(),
    )


def psa_deft() -> Pipeline:
    """PSA on DEFT's maps: object and background features disentangled, and swapped between images.

    Paper: Ahn and Kwak, 2018, arXiv:1803.10464; DEFT, see irn_deft.
    """
    return with_deft(psa())
