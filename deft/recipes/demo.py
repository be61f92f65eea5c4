"""The embedded data set's recipes: a small network from nothing, in minutes.

Settings were chosen on a plain classifier (rate, steps, stride) and one seed; the two recipes share all of them.
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
    """Plain CAM on the embedded data set, up to the masks its seeds give.

    Paper: Zhou et al., 2016, arXiv:1512.04150.
    """
    plan = Plan(epochs=10, min_steps=1200, batch=16, optimiser=AdamW(lr=4e-3))
    head = LinearHead(learning_rate=1.0)  # nothing is trained beforehand, so no layer is newer than another
    return Pipeline(
        classifier=Classifier(head=head, plan=plan, crop=0.75, long_side=(0.65, 0.95)),
        seeds=Cam(scales=(0.5, 1.0, 1.5)),  # at twice its size an image of 128 pixels costs most and shows nothing more
        segment=None,
        backbone="test_resnet",
        weights="none",
        stride=8,
    )


def demo() -> Pipeline:
    """DEFT and IRN on the embedded data set, up to the segmentation network.

    Paper: DEFT, see irn_deft.
    """
    base = demo_cam()
    # From random weights f_bg learns the scene before the objects: its half of Eq. 7 is the worse one here. Weights
    # and M are those that the demo's figures were measured with; no others were tried on drawings.
    equal = DeftHead(maps=64, object_as_background=1.0, background_as_object=1.0, background_weight=1.0)
    head = replace(equal, classifier_rate=1.0, swap_rate=1.0, map=ObjectMap())
    # Random weights are no beginning for a segmentation network; the classifier's are the best there are.
    # So few steps because this is a demonstration: the network goes on getting better for ten times as many.
    segment = replace(DeepLab(), from_classifier=True, stride=8, plan=replace(DeepLab().plan, epochs=1, min_steps=120))
    return replace(base, classifier=replace(base.own_classifier, head=head), refine=Irn(), segment=segment)
