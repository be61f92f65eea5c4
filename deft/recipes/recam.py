"""ReCAM (Chen et al., 2022, arXiv:2203.00962), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.engine.optimise import Sgd
from deft.pipeline import Pipeline
from deft.recipes.irn import irn, with_deft
from deft.seeds.recam import ReCam


def recam() -> Pipeline:
    """ReCAM: a second classifier tells features of one tag from all other classes; refined by IRN.

    Paper: Chen et al., 2022, arXiv:2203.00962.
    """
    base = irn()
    # The published rates, 5e-4 and a tenth of it, are for the 2,600 steps of VOC: with a few hundred photographs the
    # second classifier is still at chance in the end.
    seeds = replace(ReCam(), plan=replace(ReCam().plan, optimiser=Sgd(lr=0.05)), slower=0.01)
    return replace(base, classifier=replace(base.own_classifier, freeze_stride=2), seeds=seeds)


def recam_deft() -> Pipeline:
    """ReCAM on a DEFT classifier, which goes on swapping: f_fg's maps weight the features of a tag.

    Paper: Chen et al., 2022, arXiv:2203.00962; DEFT, see irn_deft.
    """
    return with_deft(recam())
