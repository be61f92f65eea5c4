"""ICD (Fan et al., 2020), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import irn, with_deft
from deft.seeds.icd import Icd


def icd() -> Pipeline:
    """ICD: one direction of the features inside each class parts object and background; refined by IRN.

    Paper: Fan et al., 2020, CVPR, Learning Integral Objects with Intra-Class Discriminator.
    """
    return replace(irn(), seeds=Icd())


def icd_deft() -> Pipeline:
    """ICD on the features of a DEFT classifier; DEFT's maps say which side is the object.

    Paper: Fan et al., 2020, CVPR, Learning Integral Objects with Intra-Class Discriminator; DEFT, see irn_deft.
    """
    return with_deft(icd())
