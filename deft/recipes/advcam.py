"""AdvCAM (Lee, Kim and Yoon, 2021, arXiv:2103.08896), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import cam, with_deft
from deft.refine.irn import Irn
from deft.seeds.advcam import AdvCam


def advcam() -> Pipeline:
    """AdvCAM: class activation maps summed while the image climbs; IRN refines them.

    Paper: Lee et al., 2021, arXiv:2103.08896.
    """
    plain = cam()
    return replace(
        plain,
        # As IRN's, except that gradients go through layer2: the whole network but its first convolution is trained.
        classifier=replace(plain.own_classifier, freeze_stride=2),
        seeds=AdvCam(),
        refine=Irn(power=1.5),
    )


def advcam_deft() -> Pipeline:
    """AdvCAM on a DEFT classifier: the image climbs f_fg(z_fg), the score pooled by attention.

    Paper: Lee et al., 2021, arXiv:2103.08896; DEFT, see irn_deft.
    """
    return replace(with_deft(advcam()), seeds=AdvCam(rectified=False))
