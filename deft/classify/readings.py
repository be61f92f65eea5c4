"""Readings of Eq. 7, DEFT's class map: max(w_fg z, 1 - w_bg z).

The paper does not say how logits, which are unbounded, are brought to the scale of the 1, and the released code returns
the map of w_fg alone. Each reading is a small dataclass that defines what is summed over scales and flips, and how the
sum becomes a map. The maximum is taken elementwise between the two maps of a class; over channels, as printed, it would
give one map for all classes. Maps use no bias, except those of sigmoids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from deft.engine.head import normalise
from deft.ranges import Factor, check_ranges


def class_map(fg: Tensor, bg: Tensor) -> Tensor:
    """Eq. 7 for an object and a background map in [0, 1]: high on the object and where f_bg finds no background."""
    return torch.maximum(fg, 1 - bg)


@runtime_checkable
class Reading(Protocol):
    """A way to compute the class map; a frozen dataclass of this module or of your own."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The B maps to be summed over scales and flips, (N, B, K, h, w), non-negative, the object map first.

        Args:
            fg: scores of f_fg in every cell, (N, K, h, w), with the bias only if the reading has ``bias = True``.
            bg: scores of f_bg, likewise.
        """

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps of one image, (K, h, w) in [0, 1], from the summed activation (B, K, h, w)."""


@dataclass(frozen=True)
class ObjectMap:
    """relu(w_fg z) divided by its maximum, as in the released code."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The positive part of the object scores, (N, 1, K, h, w)."""
        return fg.relu()[:, None]

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps, (K, h, w) in [0, 1]."""
        return normalise(activation[0])


@dataclass(frozen=True)
class MaskedObject:
    """:class:`ObjectMap` where relu(w_fg z) is at least relu(w_bg z), else 0; from a comment in the released code."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The positive parts of both scores, (N, 2, K, h, w)."""
        return torch.stack([fg.relu(), bg.relu()], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps, (K, h, w) in [0, 1]."""
        fg, bg = activation.unbind()
        return normalise(torch.where(fg >= bg, fg, torch.zeros_like(fg)))


@dataclass(frozen=True)
class Eq7:
    """Eq. 7 with the rectified object map and the min-max normalised background map, raised to a power.

    A rectified background map is 0 on the object and wherever else the score of f_bg is negative, so that no threshold
    can tell them apart. The min-max normalised map keeps their order: as good on photographs that the classifier was
    trained on, and better on others (``docs/results.md``).
    """

    power: Factor = 2.0
    """Exponent of the whole map, at least 1. It keeps the order of values, and therefore the best possible mask, and
    changes their scale: a min-max normalised map is about 0.6 at the edge of an object, and squared about 0.36, where
    both criteria of an automatic threshold find it (:mod:`deft.thresholds.criterion`): ``benchmarks/readings.md`` has
    what other powers lose."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The positive part of fg, and both parts of bg, so that the sum keeps its sign: (N, 3, K, h, w)."""
        return torch.stack([fg.relu(), bg.relu(), (-bg).relu()], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps, (K, h, w) in [0, 1]."""
        fg, bg, not_bg = activation.unbind()
        signed = not_bg - bg
        not_background = normalise(signed - signed.amin(dim=(1, 2), keepdim=True))  # 1 - the min-max normalised bg
        return torch.maximum(normalise(fg), not_background) ** self.power


@dataclass(frozen=True)
class Eq7Relu:
    """Eq. 7 with both rectified maps, each divided by its maximum."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The positive parts of both scores, (N, 2, K, h, w)."""
        return torch.stack([fg.relu(), bg.relu()], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps, (K, h, w) in [0, 1]."""
        fg, bg = activation.unbind()
        return class_map(normalise(fg), normalise(bg))


@dataclass(frozen=True)
class Eq7Sigmoid:
    """Eq. 7 with the sigmoids of both scores, including the bias, each averaged over scales and flips."""

    bias: ClassVar[bool] = True

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """Both sigmoids, and ones, whose sum is the number of maps: (N, 3, K, h, w)."""
        both = torch.stack([fg, bg], dim=1).sigmoid()
        return torch.cat([both, torch.ones_like(both[:, :1])], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """The class maps, (K, h, w) in [0, 1]."""
        fg, bg, count = activation.unbind()
        return torch.maximum(fg, count - bg) / count


READINGS: Mapping[str, type[Reading]] = {
    "fg": ObjectMap,
    "mix": MaskedObject,
    "eq7": Eq7,
    "eq7_relu": Eq7Relu,
    "eq7_sigmoid": Eq7Sigmoid,
}
"""The readings of this module, by their names in records."""
