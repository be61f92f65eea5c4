"""RIB (Lee et al., 2021, arXiv:2110.06530), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import cam, with_deft
from deft.refine.irn import Irn
from deft.seeds.rib import Rib


def rib() -> Pipeline:
    """RIB: class activation maps summed over a few steps of fine-tuning for each image; refined by IRN.

    Paper: Lee et al., 2021, arXiv:2110.06530.
    """
    return replace(cam(), seeds=Rib(), refine=Irn(power=1.3))


def rib_deft() -> Pipeline:
    """RIB on a DEFT classifier: the fine-tuning raises the object scores f_fg of single cells.

    Paper: Lee et al., 2021, arXiv:2110.06530; DEFT, see irn_deft.
    """
    return with_deft(rib())
