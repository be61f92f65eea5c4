"""DRS (Kim, Han and Kim, 2021, arXiv:2103.07246), alone and with DEFT."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.drs import DrsHead
from deft.engine.optimise import Sgd
from deft.pipeline import Pipeline
from deft.recipes.irn import irn, with_deft
from deft.seeds.cam import Cam


def drs() -> Pipeline:
    """DRS: the largest values of each channel are cut off, so that more of an object counts; refined by IRN.

    Paper: Kim, Han and Kim, 2021, arXiv:2103.07246.
    """
    base = irn()
    classifier = base.own_classifier
    # The published rate, 1e-3, is for the 30,000 steps of VOC: with a few hundred photographs it learns nothing.
    plan = replace(classifier.plan, epochs=15, optimiser=Sgd(lr=0.01, momentum=0.9, decay=5e-4))
    scales = (0.8, 1.0, 1.2)  # 256, 320 and 384 of crops of 320
    return replace(base, classifier=replace(classifier, head=DrsHead(), plan=plan), seeds=Cam(scales=scales))


def drs_deft() -> Pipeline:
    """DRS with DEFT: its head disentangles and swaps what it pools from suppressed features.

    Paper: Kim, Han and Kim, 2021, arXiv:2103.07246; DEFT, see irn_deft.
    """
    base = with_deft(drs())
    classifier = base.own_classifier
    return replace(base, classifier=replace(classifier, head=DrsHead(base=classifier.head)))
