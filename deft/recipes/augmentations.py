"""IRN with an augmented classifier, one recipe per augmentation (DEFT, Table 1b), without and with DEFT.

The paper gives neither settings nor the length of training for its rows. Here everything else is as in ``irn``,
including its 5 epochs, so that the augmentation is the only difference; the variants with DEFT have the 10 epochs of
``irn_deft``. To train an augmentation for 10 epochs too, set ``classifier.plan.epochs``.
"""

from __future__ import annotations

from dataclasses import replace

from deft.augment import CutMix, Cutout, HideAndSeek, ManifoldMixup, Mixup
from deft.contracts import Augmentation
from deft.pipeline import Pipeline
from deft.recipes.irn import irn, irn_deft


def augmented(pipeline: Pipeline, augment: Augmentation) -> Pipeline:
    """The same system with a classifier trained on augmented batches."""
    return replace(pipeline, classifier=replace(pipeline.own_classifier, augment=augment))


def mixup() -> Pipeline:
    """IRN on a classifier trained with Mixup: blends of two images and of their tags.

    Paper: Zhang et al., 2018, arXiv:1710.09412.
    """
    return augmented(irn(), Mixup())


def mixup_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with Mixup.

    Paper: Zhang et al., 2018, arXiv:1710.09412; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), Mixup())


def manifold_mixup() -> Pipeline:
    """IRN on a classifier trained with Manifold Mixup: blends of images or of features.

    Paper: Verma et al., 2019, arXiv:1806.05236.
    """
    return augmented(irn(), ManifoldMixup())


def manifold_mixup_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with Manifold Mixup.

    Paper: Verma et al., 2019, arXiv:1806.05236; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), ManifoldMixup())


def cutout() -> Pipeline:
    """IRN on a classifier trained with Cutout: a square of each image hidden.

    Paper: DeVries and Taylor, 2017, arXiv:1708.04552.
    """
    return augmented(irn(), Cutout())


def cutout_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with Cutout.

    Paper: DeVries and Taylor, 2017, arXiv:1708.04552; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), Cutout())


def cutmix() -> Pipeline:
    """IRN on a classifier trained with CutMix: a box of another image pasted, tags mixed by area.

    Paper: Yun et al., 2019, arXiv:1905.04899.
    """
    return augmented(irn(), CutMix())


def cutmix_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with CutMix.

    Paper: Yun et al., 2019, arXiv:1905.04899; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), CutMix())


def hide_and_seek() -> Pipeline:
    """IRN on a classifier trained with Hide-and-Seek: half of the patches of a raster hidden.

    Paper: Singh and Lee, 2017, arXiv:1704.04232.
    """
    return augmented(irn(), HideAndSeek())


def hide_and_seek_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with Hide-and-Seek.

    Paper: Singh and Lee, 2017, arXiv:1704.04232; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), HideAndSeek())
