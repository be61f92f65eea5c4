"""Augmentations of a batch of images or features: what the classifier learns from, changed on the way."""

from deft.augment.feature_swap import swap_background, swap_object

__all__ = ["swap_background", "swap_object"]
