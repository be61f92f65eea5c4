"""AdvCAM (Lee, Kim and Yoon, 2021, arXiv:2103.08896), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.pipeline import Pipeline
from deft.recipes.irn import cam, with_deft
from deft.refine.irn import Irn
from deft.refine.labels import ConfidentLabels
from deft.seeds.advcam import AdvCam


def advcam() -> Pipeline:
    """AdvCAM: class activation maps summed while the image climbs; IRN refines them."""
    plain = cam()
    return replace(
        plain,
        # As IRN's, except that gradients go through layer2: the whole network but its first convolution is trained.
        classifier=replace(plain.own_classifier, freeze_stride=2),
        seeds=AdvCam(),
        # The paper takes the best of 0.15 to 0.34 on the ground truth. 0.15 is the released code's default and IRN's.
        seed_threshold=0.15,
        refine=Irn(labels=ConfidentLabels(fg=0.35, bg=0.15), power=1.5, background=0.25),
    )


def advcam_deft() -> Pipeline:
    """AdvCAM on a DEFT classifier: the image climbs f_fg(z_fg), the score pooled by attention."""
    return replace(with_deft(advcam()), seeds=AdvCam(rectified=False))
