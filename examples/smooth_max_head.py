"""A classifier head of one's own in one file: smooth maximum pooling (Pinheiro and Collobert, 2015, arXiv:1411.6228).

    deft run examples/smooth_max_head.py --data folder:PHOTOS --out runs/smooth --set classifier.head.sharpness=3

Plain CAM averages a class's map to score an image. Here the score is the log of the mean of exponentials, which lies
between the mean (sharpness near 0) and the maximum (large): a small object counts for more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft import recipes
from deft.pipeline import Pipeline


@dataclass(frozen=True)
class SmoothMaxHead:
    """Settings."""

    sharpness: float = 5.0
    """r of the paper; larger is nearer to the maximum."""
    learning_rate: float = 10.0
    """Multiplier of the base rate."""

    def build(self, channels: int, classes: int) -> nn.Module:
        """The weights, for features of ``channels`` channels and ``classes`` classes without background."""
        return SmoothMax(self, channels, classes)


class SmoothMax(nn.Module):
    """Weights and what is done with them; features are (N, C, h, w)."""

    def __init__(self, settings: SmoothMaxHead, channels: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.classifier = nn.Conv2d(channels, classes, 1)

    def logits(self, features: Tensor) -> Tensor:
        """Image scores before the sigmoid, (N, K)."""
        cells: Tensor = self.classifier(features).flatten(2) * self.settings.sharpness
        return (cells.logsumexp(dim=2) - math.log(cells.shape[2])) / self.settings.sharpness

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Terms that are summed, each drawn as a curve of its own; labels float (N, K), epoch from 1."""
        return {"classify": F.binary_cross_entropy_with_logits(self.logits(features), labels)}

    def activation(self, features: Tensor) -> Tensor:
        """Non-negative class maps of B branches, here one: (N, 1, K, h, w); they are summed over scales and flips."""
        return F.relu(self.classifier(features))[:, None]

    def combine(self, activation: Tensor) -> Tensor:
        """The sum of one image, (1, K, h, w), as maps in [0, 1], (K, h, w)."""
        return activation[0] / activation[0].amax(dim=(1, 2), keepdim=True).clamp(min=1e-5)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Which weights learn at which multiple of the base rate."""
        return [(list(self.parameters()), self.settings.learning_rate)]


def recipe() -> Pipeline:
    """The recipe ``irn`` with this head."""
    base = recipes.irn()
    return replace(base, classifier=replace(base.own_classifier, head=SmoothMaxHead()))
