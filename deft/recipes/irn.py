"""Plain CAM, IRN (Ahn et al., 2019, arXiv:1904.05044) and IRN with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.pipeline import Pipeline
from deft.refine.irn import Irn


def cam() -> Pipeline:
    """Class activation maps as they are, thresholded; no refinement."""
    return Pipeline(classifier=Classifier(head=LinearHead()))


def irn() -> Pipeline:
    """IRN: class activation maps, walked along learned affinities up to learned boundaries."""
    return replace(cam(), refine=Irn())


def irn_deft() -> Pipeline:
    """IRN on DEFT's maps: object and background disentangled, and swapped between images."""
    base = irn()
    plan = replace(base.classifier.plan, epochs=10)  # the paper's; swapping begins with the sixth
    return replace(
        base,
        classifier=replace(base.classifier, head=DeftHead(), plan=plan),
        # The paper prints no thresholds. These were chosen on photographs of MSRC's test split, which is not reported.
        seed_threshold=0.25,
        refine=Irn(background=0.45),
    )
