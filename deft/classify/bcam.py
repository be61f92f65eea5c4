"""B-CAM: a background vector and background classifiers beside those of objects (Zhu et al., 2021, arXiv:2112.14379).

DEFT is built on it: attention pools an object vector and a background vector of an image, and each is classified as
what it is and as not being the other. There are no swaps, classifiers have no bias, all four terms have equal weights,
and the class map is that of the object classifier.

The paper lets the background classifier decide, cell by cell, what is object; that map is
:class:`deft.classify.readings.MaskedObject`. The authors' code has no licence, so this was written from facts about it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.classify.deft import Aggregator, aggregate, disentangling_losses
from deft.classify.readings import READINGS, ObjectMap, Reading
from deft.contracts import InputError
from deft.engine.head import HeadModule
from deft.ranges import Range, Weight, check_ranges
from deft.settings import one_of, read_only


@dataclass(frozen=True)
class BcamHead:
    """Settings of B-CAM's head."""

    maps: Annotated[int, Range(1, 65_536)] = 20
    """Number of attention maps per vector, which are averaged (20 in the code for VOC)."""
    object_weight: Weight = 1.0
    """Weight of f_fg(z_fg) -> y, the classification term."""
    object_as_background: Weight = 1.0
    """Weight of f_bg(z_fg) -> 1 - y."""
    background_as_object: Weight = 1.0
    """Weight of f_fg(z_bg) -> 0."""
    background_weight: Weight = 1.0
    """Weight of f_bg(z_bg) -> 1."""
    init_scale: Weight = 1.0
    """Factor of the initial attention weights."""
    map: Reading = field(default_factory=ObjectMap, metadata=one_of(READINGS) | read_only(map="fg"))
    """The class map: that of f_fg, or another of :mod:`deft.classify.readings`. It changes nothing in training."""
    learning_rate: Weight = 10.0
    """Multiplier of the base rate for all new layers."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and anything but a reading."""
        check_ranges(self)
        if not isinstance(self.map, Reading):
            raise InputError(
                "expected classifier.head.map as a reading of deft.classify.readings, such as ObjectMap(), got "
                f"{self.map!r}"
            )

    def build(self, channels: int, classes: int) -> BcamModule:
        """A head for features of ``channels`` channels and ``classes`` classes without background."""
        return BcamModule(self, channels, classes)


class BcamModule(HeadModule):
    """Weights of :class:`BcamHead`."""

    def __init__(self, settings: BcamHead, channels: int, classes: int) -> None:
        super().__init__()
        s = self.settings = settings
        self.m_fg, self.m_bg = (Aggregator(channels, s.maps, 1.0, s.init_scale, 0.0) for _ in range(2))
        self.f_fg, self.f_bg = (nn.Linear(channels, classes, bias=False) for _ in range(2))

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The four weighted terms.

        Args:
            features: (N, C, h, w).
            labels: float multi-hot, (N, K).
            epoch: not used.
            rng: not used.

        Returns:
            Scalars to be summed: ``classify``, ``object_as_background``, ``background_as_object``, ``background``.
        """
        s = self.settings
        z_fg, z_bg = aggregate(features, [self.m_fg, self.m_bg])
        losses = disentangling_losses(self.f_fg, self.f_bg, z_fg, z_bg, labels)
        weights = {
            "classify": s.object_weight,
            "object_as_background": s.object_as_background,
            "background_as_object": s.background_as_object,
            "background": s.background_weight,
        }
        return {name: weights[name] * loss for name, loss in losses.items()}

    def logits(self, features: Tensor) -> Tensor:
        """Image scores f_fg(z_fg) before the sigmoid, (N, K)."""
        scores: Tensor = self.f_fg(self.m_fg(features))
        return scores

    def cell_scores(self, features: Tensor) -> Tensor:
        """``w_fg z``, (N, K, h, w)."""
        return F.conv2d(features, self.f_fg.weight[:, :, None, None])

    def activation(self, features: Tensor) -> Tensor:
        """The maps that the reading sums over scales, (N, B, K, h, w), non-negative."""
        background = F.conv2d(features, self.f_bg.weight[:, :, None, None])
        return self.settings.map.activation(self.cell_scores(features), background)

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps of one image, (K, h, w) in [0, 1], from the summed activation (B, K, h, w)."""
        return self.settings.map.combine(activation)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """All weights at the settings' multiple of the base learning rate."""
        return [(list(self.parameters()), self.settings.learning_rate)]
