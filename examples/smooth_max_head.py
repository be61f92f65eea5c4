"""A custom classifier head in one file: smooth maximum pooling (Pinheiro and Collobert, 2015, arXiv:1411.6228).

    deft run examples/smooth_max_head.py --data folder:PHOTOS --out runs/smooth --set classifier.head.sharpness=3

Plain CAM averages a class's map to score an image. Here the score is the log of the mean of exponentials, which lies
between the mean (sharpness near 0) and the maximum (large sharpness), so that small objects have more weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor, nn

from deft import HeadModule, recipes
from deft.pipeline import Pipeline


@dataclass(frozen=True)
class SmoothMaxHead:
    """Settings of the head."""

    sharpness: float = 5.0
    """r in the paper; larger values are closer to the maximum."""

    def build(self, channels: int, classes: int) -> HeadModule:
        """The module for features of ``channels`` channels and ``classes`` classes without background."""
        return SmoothMax(self, channels, classes)


class SmoothMax(HeadModule):
    """Scores and maps of features (N, C, h, w); loss, rates and normalisation are the defaults of all heads."""

    def __init__(self, settings: SmoothMaxHead, channels: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.classifier = nn.Conv2d(channels, classes, 1)

    def logits(self, features: Tensor) -> Tensor:
        """Image scores before the sigmoid, (N, K)."""
        cells: Tensor = self.classifier(features).flatten(2) * self.settings.sharpness
        return (cells.logsumexp(dim=2) - math.log(cells.shape[2])) / self.settings.sharpness

    def activation(self, features: Tensor) -> Tensor:
        """Non-negative class maps of B branches, here one: (N, 1, K, h, w); summed over scales and flips."""
        maps: Tensor = self.classifier(features)
        return maps.relu()[:, None]


def recipe() -> Pipeline:
    """The recipe ``irn`` with this head."""
    base = recipes.irn()
    return replace(base, classifier=replace(base.own_classifier, head=SmoothMaxHead()))
