"""The plain CAM head (Zhou et al., 2016, arXiv:1512.04150, as IRN writes it): average pooling, then a 1x1 convolution.

Averaging and a linear map commute, so the map ``w_c . z(h, w)`` averaged over the grid *is* the score of class c.
No bias, as in IRN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from deft.engine.head import HeadModule


@dataclass(frozen=True)
class LinearHead:
    """Global average pooling and one linear classifier without bias."""

    learning_rate: float = 10.0
    """Multiplier of the base rate for the classifier's weights, which start from nothing (IRN: 10)."""
    dropout: float = 0.0
    """Share of the channels left out of the score in training, each image its own (IRN: none, PSA: 0.5)."""

    def build(self, channels: int, classes: int) -> LinearModule:
        """A head for features of ``channels`` channels and ``classes`` classes without background."""
        return LinearModule(self, channels, classes)


class LinearModule(HeadModule):
    """Weights of :class:`LinearHead`."""

    def __init__(self, settings: LinearHead, channels: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.classifier = nn.Conv2d(channels, classes, 1, bias=False)

    def logits(self, features: Tensor) -> Tensor:
        """Class scores before the sigmoid, (N, K)."""
        pooled = features.mean(dim=(2, 3), keepdim=True)
        # A channel that is left out of the map is left out of its mean: the same, and far less to compute.
        scores: Tensor = self.classifier(F.dropout2d(pooled, self.settings.dropout, self.training))
        return scores[:, :, 0, 0]

    def activation(self, features: Tensor) -> Tensor:
        """``relu(w . z)``, (N, 1, K, h, w)."""
        return F.relu(self.classifier(features))[:, None]

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """All weights at the settings' multiple of the base learning rate."""
        return [(list(self.parameters()), self.settings.learning_rate)]
