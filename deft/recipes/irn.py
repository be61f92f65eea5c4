"""Plain CAM, IRN (Ahn et al., 2019, arXiv:1904.05044) and IRN with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.sma import SmaHead
from deft.pipeline import Pipeline
from deft.refine.irn import Irn


def cam() -> Pipeline:
    """Thresholded class activation maps, without refinement.

    Paper: Zhou et al., 2016, arXiv:1512.04150.
    """
    return Pipeline(classifier=Classifier(head=LinearHead()))


def irn() -> Pipeline:
    """IRN: class activation maps, spread by a random walk along learned affinities up to learned boundaries.

    Paper: Ahn et al., 2019, arXiv:1904.05044.
    """
    return replace(cam(), refine=Irn())


def with_deft(pipeline: Pipeline) -> Pipeline:
    """The same system with DEFT's head, trained for the paper's 10 epochs (swapping from the sixth)."""
    plan = replace(pipeline.own_classifier.plan, epochs=10)
    return replace(pipeline, classifier=replace(pipeline.own_classifier, head=DeftHead(), plan=plan))


def irn_sma() -> Pipeline:
    """IRN on the maps of SMA, DEFT's follow-up: a background from all stages, more losses on swapped pairs.

    Paper: Kwon et al., 2024, arXiv:2405.18148.
    """
    base = with_deft(irn())
    return replace(base, classifier=replace(base.own_classifier, head=SmaHead()))


def irn_deft() -> Pipeline:
    """IRN on DEFT's maps: object and background features disentangled, and swapped between images.

    Paper: DEFT, submitted to ICLR 2023; its follow-up is Kwon et al., 2024, arXiv:2405.18148.
    """
    return with_deft(irn())
