"""A frozen backbone, alone and with DEFT: masks and a network in a minute or two."""

from __future__ import annotations

from dataclasses import replace

from deft.classify.classifier import Classifier
from deft.classify.frozen_deft import FrozenDeftHead
from deft.classify.linear import LinearHead
from deft.engine.features import Frozen
from deft.engine.optimise import AdamW
from deft.engine.plan import Plan
from deft.pipeline import Pipeline
from deft.refine.affinity import FeatureAffinity
from deft.refine.crf import DenseCrf
from deft.seeds.frozen import FrozenCam
from deft.segment.deeplab import DeepLab
from deft.segment.inference import Inference


def frozen() -> Pipeline:
    """Heads on the stored features of a frozen backbone; class maps spread along their affinities.

    Paper: Zhou et al., 2016, arXiv:1512.04150, for the maps; none for the rest.
    """
    plan = Plan(epochs=10, min_steps=150, batch=64, optimiser=AdamW(lr=0.01))
    network = Plan(epochs=6, min_steps=240, batch=8, optimiser=AdamW(lr=5e-4), clip=5.0)
    crf = DenseCrf(iterations=3, gaussian_sxy=2.0, bilateral_sxy=25.0)  # on a grid of half the usual size
    return Pipeline(
        classifier=Classifier(head=LinearHead(learning_rate=1.0), plan=plan),
        seeds=FrozenCam(),
        refine=FeatureAffinity(),
        segment=DeepLab(plan=network, channels=128, crop=0.7, balanced=True),
        inference=Inference(scales=(1.0,), flip=False, crf=crf),
        frozen=Frozen(),
    )


def frozen_deft() -> Pipeline:
    """The same with DEFT's idea for frozen features: backgrounds score as nothing, and are swapped.

    Paper: DEFT, see irn_deft.
    """
    base = frozen()
    return replace(base, classifier=replace(base.own_classifier, head=FrozenDeftHead()))
