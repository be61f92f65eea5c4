"""SIPE (Chen et al., 2022, arXiv:2203.02909), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.sipe import SipeHead
from deft.pipeline import Pipeline
from deft.recipes.irn import irn, irn_deft
from deft.refine.irn import Irn


def sipe() -> Pipeline:
    """SIPE: maps of the similarity to prototypes of each tag in the image itself; refined by IRN.

    Paper: Chen et al., 2022, arXiv:2203.02909.
    """
    return with_sipe(irn())


def sipe_deft() -> Pipeline:
    """SIPE on a DEFT classifier: the object scores f_fg give the seeds of the prototypes.

    Paper: Chen et al., 2022, arXiv:2203.02909; DEFT, see irn_deft.
    """
    return with_sipe(irn_deft())


def with_sipe(pipeline: Pipeline) -> Pipeline:
    """The same system with prototypes on top of its classifier's head; IRN walks its maps to the power of 1.5."""
    classifier = pipeline.own_classifier
    head = replace(classifier, head=SipeHead(base=classifier.head))
    return replace(pipeline, classifier=head, refine=Irn(power=1.5))
