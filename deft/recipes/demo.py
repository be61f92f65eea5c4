"""Recipes for the embedded dataset: a small network trained from scratch, in minutes.

Settings (rate, steps, stride) were chosen for a plain classifier, with one seed; both recipes share them.
"""

from __future__ import annotations

from dataclasses import replace

from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.readings import ObjectMap
from deft.engine.optimise import AdamW
from deft.engine.plan import Plan
from deft.pipeline import Pipeline
from deft.refine.irn import Irn
from deft.seeds.cam import Cam
from deft.segment.deeplab import DeepLab


def demo_cam() -> Pipeline:
    """Plain CAM on the embedded dataset, up to the masks from its seeds.

    Paper: Zhou et al., 2016, arXiv:1512.04150.
    """
    plan = Plan(epochs=10, min_steps=1200, batch=16, optimiser=AdamW(lr=4e-3))
    head = LinearHead(learning_rate=1.0)  # the backbone is not pretrained, so the head needs no higher rate
    return Pipeline(
        classifier=Classifier(head=head, plan=plan, crop=0.75, long_side=(0.65, 0.95)),
        seeds=Cam(scales=(0.5, 1.0, 1.5)),  # scale 2 costs most and reveals nothing more in images of 128 pixels
        segment=None,
        backbone="test_resnet",
        weights="none",
        stride=8,
    )


def demo() -> Pipeline:
    """DEFT and IRN on the embedded dataset, up to the segmentation network.

    Paper: DEFT, see irn_deft.
    """
    base = demo_cam()
    # From random weights f_bg learns the scene before the objects: its half of Eq. 7 is the worse one here. Weights
    # and M are those used for the demo's published numbers; no others were tried on rendered images.
    equal = DeftHead(maps=64, object_as_background=1.0, background_as_object=1.0, background_weight=1.0)
    head = replace(equal, classifier_rate=1.0, swap_rate=1.0, map=ObjectMap())
    # A segmentation network cannot start from random weights; the classifier's are the best available.
    # Few steps, because this is a demonstration: the network keeps improving for ten times as many.
    segment = replace(DeepLab(), from_classifier=True, stride=8, plan=replace(DeepLab().plan, epochs=1, min_steps=120))
    return replace(base, classifier=replace(base.own_classifier, head=head), refine=Irn(), segment=segment)
