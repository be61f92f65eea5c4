"""B-CAM (Zhu et al., 2021, arXiv:2112.14379), whose head DEFT extends by swaps."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.bcam import BcamHead
from deft.pipeline import Pipeline
from deft.recipes.irn import irn


def bcam() -> Pipeline:
    """B-CAM: object and background vectors, each classified as what it is and as not the other; refined by IRN.

    Paper: Zhu et al., 2021, arXiv:2112.14379.
    """
    base = irn()
    # At the published rate, 0.01, a few hundred photographs train for too few steps: IRN's is ten times that.
    return replace(base, classifier=replace(base.own_classifier, head=BcamHead()))
