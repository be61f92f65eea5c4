"""Augmentations of the classifier's training batches, of images or features, and of whole images."""

from deft.augment.cda import Cda
from deft.augment.cutmix import CutMix
from deft.augment.cutout import Cutout
from deft.augment.feature_swap import swap_background, swap_object
from deft.augment.hide_and_seek import HideAndSeek
from deft.augment.manifold_mixup import ManifoldMixup
from deft.augment.mixup import Mixup

__all__ = ["Cda", "CutMix", "Cutout", "HideAndSeek", "ManifoldMixup", "Mixup", "swap_background", "swap_object"]
