"""AdvCAM (Lee, Kim and Yoon, 2021, arXiv:2103.08896), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import cam, with_deft
from deft.refine.irn import Irn
from deft.seeds.advcam import AdvCam


def advcam() -> Pipeline:
    """AdvCAM: class activation maps summed over steps of gradient ascent on the image; refined by IRN.

    Paper: Lee et al., 2021, arXiv:2103.08896.
    """
    plain = cam()
    return replace(
        plain,
        # As in IRN, except that gradients pass through layer2: all of the network except the stem is trained.
        classifier=replace(plain.own_classifier, freeze_stride=2),
        seeds=AdvCam(),
        refine=Irn(power=1.5),
    )


def advcam_deft() -> Pipeline:
    """AdvCAM on a DEFT classifier: the image ascends f_fg(z_fg), the score pooled by attention.

    Paper: Lee et al., 2021, arXiv:2103.08896; DEFT, see irn_deft.
    """
    return replace(with_deft(advcam()), seeds=AdvCam(rectified=False))
