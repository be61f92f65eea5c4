"""CDA (Su et al., ICCV 2021, arXiv:2103.01795) on IRN, and on IRN with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.augment.cda import Cda
from deft.pipeline import Pipeline
from deft.recipes.irn import irn, irn_deft


def cda() -> Pipeline:
    """CDA: objects cut out along IRN's masks are pasted into other scenes while the classifier is retrained.

    Paper: Su et al., 2021, arXiv:2103.01795.
    """
    return _with_cda(irn())


def cda_deft() -> Pipeline:
    """CDA on DEFT's classifier, in every round: the objects come from the masks of irn_deft.

    Paper: Su et al., 2021, arXiv:2103.01795; DEFT, see irn_deft.
    """
    return _with_cda(irn_deft())


def _with_cda(pipeline: Pipeline) -> Pipeline:
    return replace(pipeline, classifier=replace(pipeline.own_classifier, augment=Cda()))
