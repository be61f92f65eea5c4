"""IRN with an augmented classifier, one recipe per augmentation (DEFT, Table 1b), without and with DEFT.

The paper gives neither settings nor the length of training for its rows. Here everything else is as in ``irn``,
including its 5 epochs, so that the augmentation is the only difference; the variants with DEFT have the 10 epochs of
``irn_deft``. To train an augmentation for 10 epochs too, set ``classifier.plan.epochs``.
"""

from __future__ import annotations

from dataclasses import replace

from deft.augment import (
    CoMixup,
    CutMix,
    Cutout,
    HideAndSeek,
    ManifoldMixup,
    Mixup,
    NoisyFeatureMixup,
    PuzzleMix,
    SuperMix,
)
from deft.contracts import Augmentation, SalientAugmentation
from deft.pipeline import Pipeline
from deft.recipes.irn import irn, irn_deft


def augmented(pipeline: Pipeline, augment: Augmentation | SalientAugmentation) -> Pipeline:
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


def noisy_feature_mixup() -> Pipeline:
    """IRN on a classifier trained with Noisy Feature Mixup: blends of images or of features, with noise.

    Paper: Lim et al., 2021, arXiv:2110.02180.
    """
    return augmented(irn(), NoisyFeatureMixup())


def noisy_feature_mixup_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with Noisy Feature Mixup.

    Paper: Lim et al., 2021, arXiv:2110.02180; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), NoisyFeatureMixup())


def puzzle_mix() -> Pipeline:
    """IRN on a classifier trained with Puzzle Mix: salient cells of two images, moved so that both are seen.

    Paper: Kim et al., 2020, arXiv:2009.06962.
    """
    return augmented(irn(), PuzzleMix())


def puzzle_mix_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with Puzzle Mix.

    Paper: Kim et al., 2020, arXiv:2009.06962; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), PuzzleMix())


def co_mixup() -> Pipeline:
    """IRN on a classifier trained with Co-Mixup: new images of the salient cells of a batch, unlike each other.

    Paper: Kim et al., 2021, arXiv:2102.03065.
    """
    return augmented(irn(), CoMixup())


def co_mixup_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with Co-Mixup.

    Paper: Kim et al., 2021, arXiv:2102.03065; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), CoMixup())


def super_mix() -> Pipeline:
    """IRN on a classifier trained with SuperMix: blends by masks that the classifier finds fit for the tags.

    Paper: Dabouei et al., 2021, arXiv:2003.05034.
    """
    return augmented(irn(), SuperMix())


def super_mix_deft() -> Pipeline:
    """IRN on DEFT's classifier, trained with SuperMix.

    Paper: Dabouei et al., 2021, arXiv:2003.05034; DEFT, see irn_deft.
    """
    return augmented(irn_deft(), SuperMix())
