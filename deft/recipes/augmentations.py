"""IRN on a classifier that learns from changed images, one recipe per augmentation (DEFT, Table 1b), and with DEFT.

The paper gives no setting and no length of training for its rows. Here each has all else of ``irn``, 5 epochs among
it, so that the augmentation is the only difference; DEFT's twins have the 10 epochs of ``irn_deft``. To give an
augmentation the 10 epochs too, set ``classifier.plan.epochs``.
"""

from __future__ import annotations

from dataclasses import replace

from deft.augment import CutMix, Cutout, HideAndSeek, ManifoldMixup, Mixup
from deft.contracts import Augmentation
from deft.pipeline import Pipeline
from deft.recipes.irn import irn, irn_deft


def augmented(pipeline: Pipeline, augment: Augmentation) -> Pipeline:
    """The same system on a classifier that learns from changed batches."""
    return replace(pipeline, classifier=replace(pipeline.own_classifier, augment=augment))


def mixup() -> Pipeline:
    """IRN on a classifier trained with Mixup: blends of two images and of their tags."""
    return augmented(irn(), Mixup())


def mixup_deft() -> Pipeline:
    """IRN and DEFT with Mixup."""
    return augmented(irn_deft(), Mixup())


def manifold_mixup() -> Pipeline:
    """IRN on a classifier trained with Manifold Mixup: blends of images or of features."""
    return augmented(irn(), ManifoldMixup())


def manifold_mixup_deft() -> Pipeline:
    """IRN and DEFT with Manifold Mixup."""
    return augmented(irn_deft(), ManifoldMixup())


def cutout() -> Pipeline:
    """IRN on a classifier trained with Cutout: a square of each image hidden."""
    return augmented(irn(), Cutout())


def cutout_deft() -> Pipeline:
    """IRN and DEFT with Cutout."""
    return augmented(irn_deft(), Cutout())


def cutmix() -> Pipeline:
    """IRN on a classifier trained with CutMix: a box of another image pasted, tags mixed by area."""
    return augmented(irn(), CutMix())


def cutmix_deft() -> Pipeline:
    """IRN and DEFT with CutMix."""
    return augmented(irn_deft(), CutMix())


def hide_and_seek() -> Pipeline:
    """IRN on a classifier trained with Hide-and-Seek: half of the patches of a raster hidden."""
    return augmented(irn(), HideAndSeek())


def hide_and_seek_deft() -> Pipeline:
    """IRN and DEFT with Hide-and-Seek."""
    return augmented(irn_deft(), HideAndSeek())
