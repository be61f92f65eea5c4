"""The plain CAM head (Zhou et al., 2016, arXiv:1512.04150, as IRN writes it): average pooling, then a 1x1 convolution.

Averaging and a linear map commute, so the map ``w_c . z(h, w)`` averaged over the grid *is* the score of class c.
No bias, as in IRN.

:class:`BackgroundHead` and ``LinearHead(stretched=True)`` are controls for DEFT (:mod:`deft.classify.deft`): each has
one of its parts, and neither attention nor swaps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.classify.readings import Eq7
from deft.engine.head import HeadModule, normalise, soft_margin
from deft.ranges import PartialShare, Share, Weight, check_ranges
from deft.settings import read_only


@dataclass(frozen=True)
class LinearHead:
    """Global average pooling and one linear classifier without bias."""

    learning_rate: Weight = 10.0
    """Multiplier of the base rate for the classifier's weights, which start from nothing (IRN: 10)."""
    dropout: PartialShare = 0.0
    """Share of the channels left out of the score in training, each image its own (IRN: none, PSA: 0.5)."""
    stretched: bool = field(default=False, metadata=read_only())
    """Read the map as DEFT's default reads that of f_bg, with its sign, min-max normalised and squared, instead of its
    positive part divided by its maximum."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

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

    def cell_scores(self, features: Tensor) -> Tensor:
        """``w . z``, (N, K, h, w)."""
        scores: Tensor = self.classifier(features)
        return scores

    def activation(self, features: Tensor) -> Tensor:
        """``relu(w . z)``, (N, 1, K, h, w); stretched, its positive part twice and its negative part."""
        scores = self.cell_scores(features)
        return Eq7().activation(scores, -scores) if self.settings.stretched else F.relu(scores)[:, None]

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps, (K, h, w) in [0, 1]."""
        return Eq7().combine(activation) if self.settings.stretched else normalise(activation[0])

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """All weights at the settings' multiple of the base learning rate."""
        return [(list(self.parameters()), self.settings.learning_rate)]


@dataclass(frozen=True)
class BackgroundHead:
    """A linear classifier of average-pooled features with the targets of DEFT's f_bg, read as f_bg is.

    In DEFT, f_bg is trained to 1 - y on the object vector and to 1 on the background vector. If both vectors are the
    mean of the features, as here, absent classes have the target 1, and present ones 1 and 0 in equal parts, which is
    label smoothing: this classifier is what remains of f_bg without attention.
    """

    learning_rate: Weight = 10.0
    """Multiplier of the base rate for the classifier's weights."""
    present: Share = 0.5
    """Target of a present class, in [0, 1)."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

    def build(self, channels: int, classes: int) -> BackgroundModule:
        """A head for features of ``channels`` channels and ``classes`` classes without background."""
        return BackgroundModule(self, channels, classes)


class BackgroundModule(HeadModule):
    """Weights of :class:`BackgroundHead`."""

    def __init__(self, settings: BackgroundHead, channels: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.f_bg = nn.Linear(channels, classes)

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy with the targets of f_bg."""
        targets = 1 - (1 - self.settings.present) * labels
        return {"background": soft_margin(self.f_bg(features.mean(dim=(2, 3))), targets)}

    def logits(self, features: Tensor) -> Tensor:
        """Scores before the sigmoid, (N, K); 0, a probability of 1/2, midway between the targets."""
        background = self.f_bg(features.mean(dim=(2, 3))).sigmoid()
        present: Tensor = ((1 - background) / (1 - self.settings.present)).clamp(1e-4, 1 - 1e-4).logit()
        return present

    def cell_scores(self, features: Tensor) -> Tensor:
        """``-w_bg z``, (N, K, h, w)."""
        return -F.conv2d(features, self.f_bg.weight[:, :, None, None])

    def activation(self, features: Tensor) -> Tensor:
        """As of :class:`deft.classify.readings.Eq7`, with ``-w_bg z`` in the place of the object scores."""
        scores = self.cell_scores(features)
        return Eq7().activation(scores, -scores)

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps, (K, h, w) in [0, 1]."""
        return Eq7().combine(activation)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """All weights at the settings' multiple of the base learning rate."""
        return [(list(self.parameters()), self.settings.learning_rate)]
