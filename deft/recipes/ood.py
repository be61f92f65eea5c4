"""W-OoD (Lee et al., 2022, arXiv:2203.03860), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import cam, with_deft
from deft.refine.irn import Irn
from deft.seeds.advcam import AdvCam
from deft.seeds.ood import Ood


def ood() -> Pipeline:
    """W-OoD: the classifier is trained on with images that show no class; AdvCAM's maps, refined by IRN.

    Paper: Lee et al., 2022, arXiv:2203.03860.
    """
    return replace(cam(), seeds=Ood(base=AdvCam()), refine=Irn(power=1.5))


def ood_deft() -> Pipeline:
    """W-OoD on a DEFT classifier, which goes on swapping while it learns from negatives.

    Paper: Lee et al., 2022, arXiv:2203.03860; DEFT, see irn_deft.
    """
    return replace(with_deft(ood()), seeds=Ood(base=AdvCam(rectified=False)))
