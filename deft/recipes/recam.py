"""ReCAM (Chen et al., 2022, arXiv:2203.00962), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import irn, with_deft
from deft.seeds.recam import ReCam


def recam() -> Pipeline:
    """ReCAM: a second classifier tells features of one tag from all other classes; refined by IRN.

    Paper: Chen et al., 2022, arXiv:2203.00962.
    """
    base = irn()
    return replace(base, classifier=replace(base.own_classifier, freeze_stride=2), seeds=ReCam())


def recam_deft() -> Pipeline:
    """ReCAM on a DEFT classifier, which goes on swapping: f_fg's maps weight the features of a tag.

    Paper: Chen et al., 2022, arXiv:2203.00962; DEFT, see irn_deft.
    """
    return with_deft(recam())
