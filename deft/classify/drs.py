"""DRS: the largest values of each channel are cut off (Kim, Han and Kim, AAAI 2021, arXiv:2103.07246).

The few most telling cells of an object decide the score of its class, and so the map shows little else. Discriminative
region suppression limits every channel to a share of its own maximum, behind each activation, so that a score needs
more of the object. The share is learned from the channel means, or the same everywhere.

Differs from the published code: values are suppressed in the backbone's last feature map and in three new convolutions
behind it, as theirs behind VGG-16, but not between the backbone's own layers, so that any backbone can be used; any
head can read the suppressed features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.classify.base import check_base
from deft.classify.linear import LinearHead
from deft.engine.head import Head, HeadModule, checked
from deft.ranges import Range, Weight, check_ranges


@dataclass(frozen=True)
class DrsHead:
    """Settings of DRS's head."""

    base: Head = field(default_factory=LinearHead)
    """The head that classifies the suppressed features."""
    convs: Annotated[int, Range(0, 16)] = 3
    """Number of new 3x3 convolutions behind the backbone, each with a rectifier and a suppression."""
    width: Annotated[int, Range(1, 65_536)] = 512
    """Channels of these convolutions."""
    delta: Annotated[float, Range(0, 1, above=True)] | None = None
    """Share of its maximum to which each channel is limited; None learns it for each channel and image, 0.55 is the
    published constant, and 1 suppresses nothing."""
    learning_rate: Weight = 10.0
    """Multiplier of the base rate for the convolutions and what the shares are learned with."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and a base that needs all feature maps itself."""
        check_ranges(self)
        check_base(self.base)

    def build(self, channels: int, classes: int) -> DrsModule:
        """A head for features of ``channels`` channels and ``classes`` classes without background."""
        return DrsModule(self, channels, classes)


class Suppression(nn.Module):
    """Limits each channel of an image to a share of its maximum."""

    def __init__(self, channels: int, delta: float | None) -> None:
        super().__init__()
        self.delta = 0.0 if delta is None else delta
        self.control = nn.Linear(channels, channels, bias=False) if delta is None else None

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, h, w) to as many, none larger than before; channels without positive values are unchanged."""
        highest = features.amax(dim=(2, 3))
        if self.control is None:
            limit = self.delta * highest
        else:
            limit = self.control(features.mean(dim=(2, 3))).sigmoid() * highest
        return torch.minimum(features, limit.to(features)[:, :, None, None])


class DrsModule(HeadModule):
    """Weights of :class:`DrsHead`."""

    def __init__(self, settings: DrsHead, channels: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        widths = [channels] + [settings.width] * settings.convs
        self.convs = nn.ModuleList(nn.Conv2d(inside, outside, 3, padding=1) for inside, outside in pairwise(widths))
        self.suppressions = nn.ModuleList(Suppression(width, settings.delta) for width in widths)
        self.base = checked(settings.base.build(widths[-1], classes))

    def suppressed(self, features: Tensor) -> Tensor:
        """Features (N, C, h, w) of the backbone to (N, width, h, w), which the base classifies."""
        first, *later = self.suppressions
        z: Tensor = first(features)
        for conv, suppression in zip(self.convs, later, strict=True):
            z = suppression(F.relu(conv(z)))
        return z

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The base's terms, of suppressed features."""
        return self.base.loss(self.suppressed(features), labels, epoch, rng)

    def logits(self, features: Tensor) -> Tensor:
        """The base's scores before the sigmoid, (N, K)."""
        return self.base.logits(self.suppressed(features))

    def cell_scores(self, features: Tensor) -> Tensor:
        """The base's score of each class in each cell, (N, K, h, w)."""
        return self.base.cell_scores(self.suppressed(features))

    def activation(self, features: Tensor) -> Tensor:
        """The base's class maps, (N, B, K, h, w)."""
        return self.base.activation(self.suppressed(features))

    def combine(self, activation: Tensor) -> Tensor:
        """The base's class maps of one image, (K, h, w) in [0, 1]."""
        return self.base.combine(activation)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The base's groups, and the new layers at the settings' multiple of the base learning rate."""
        own = [*self.convs.parameters(), *self.suppressions.parameters()]
        return [*self.base.groups(), (own, self.settings.learning_rate)]
