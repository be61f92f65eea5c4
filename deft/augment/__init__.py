"""Augmentations of the classifier's training batches, of images or features, and of whole images."""

from deft.augment.cda import Cda
from deft.augment.co_mixup import CoMixup
from deft.augment.cutmix import CutMix
from deft.augment.cutout import Cutout
from deft.augment.feature_swap import swap_background, swap_object
from deft.augment.hide_and_seek import HideAndSeek
from deft.augment.manifold_mixup import ManifoldMixup
from deft.augment.mixup import Mixup
from deft.augment.noisy_feature_mixup import NoisyFeatureMixup
from deft.augment.puzzle_mix import PuzzleMix
from deft.augment.super_mix import SuperMix

__all__ = [
    "Cda",
    "CoMixup",
    "CutMix",
    "Cutout",
    "HideAndSeek",
    "ManifoldMixup",
    "Mixup",
    "NoisyFeatureMixup",
    "PuzzleMix",
    "SuperMix",
    "swap_background",
    "swap_object",
]
