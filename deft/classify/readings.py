"""Readings of Eq. 7, DEFT's class map: max(w_fg z, 1 - w_bg z).

The paper does not say how logits, which have no bound, reach the scale of the 1, and the released code returns the map
of w_fg alone. Each reading is one small dataclass: what is summed over scales and flips, and what is made of the sum.
The maximum is taken element by element between two maps of one class; over channels, as printed, it would give one map
for all classes. Maps use no bias, except where sigmoids are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from deft.engine.head import normalise


def class_map(fg: Tensor, bg: Tensor) -> Tensor:
    """Eq. 7 of an object and a background map in [0, 1]: high on the object, and where f_bg sees no background."""
    return torch.maximum(fg, 1 - bg)


@runtime_checkable
class Reading(Protocol):
    """How a class map is read; a frozen dataclass, of this module or of your own."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """What is summed over scales and flips: B branches, (N, B, K, h, w), non-negative, the object's map first.

        Args:
            fg: scores of f_fg on every cell, (N, K, h, w), without bias; with it if the reading has ``bias = True``.
            bg: of f_bg, likewise.
        """

    def combine(self, activation: Tensor) -> Tensor:
        """The map, (K, h, w) in [0, 1], of one image's summed activation (B, K, h, w)."""


@dataclass(frozen=True)
class ObjectMap:
    """relu(w_fg z) divided by its maximum: what the released code returns."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The positive part of the object scores, (N, 1, K, h, w)."""
        return fg.relu()[:, None]

    def combine(self, activation: Tensor) -> Tensor:
        """(K, h, w) in [0, 1]."""
        return normalise(activation[0])


@dataclass(frozen=True)
class MaskedObject:
    """As :class:`ObjectMap` where that is at least relu(w_bg z), else 0; a comment in the released code."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The positive parts of both, (N, 2, K, h, w)."""
        return torch.stack([fg.relu(), bg.relu()], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """(K, h, w) in [0, 1]."""
        fg, bg = activation.unbind()
        return normalise(torch.where(fg >= bg, fg, torch.zeros_like(fg)))


@dataclass(frozen=True)
class Eq7:
    """Eq. 7 of the rectified object map and of the background map stretched between its extremes, to a power.

    A rectified background map is flat wherever f_bg says "object", the part that matters; stretched, it gave the best
    maps on photographs.
    """

    power: float = 3.0
    """Exponent of the whole map, at least 1. It changes the scale and no order: a stretched map is about 0.6 on the
    edge of an object, cubed about 0.2, where the thresholds usual for class maps lie (0.15, and 0.30 and 0.05 for
    confident labels)."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The positive part of fg, and both parts of bg, so that sums keep its sign: (N, 3, K, h, w)."""
        return torch.stack([fg.relu(), bg.relu(), (-bg).relu()], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """(K, h, w) in [0, 1]."""
        fg, bg, not_bg = activation.unbind()
        signed = not_bg - bg
        stretched = normalise(signed - signed.amin(dim=(1, 2), keepdim=True))  # 1 - the stretched background map
        return torch.maximum(normalise(fg), stretched) ** self.power


@dataclass(frozen=True)
class Eq7Relu:
    """Eq. 7 of both rectified maps, each divided by its maximum."""

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """The positive parts of both, (N, 2, K, h, w)."""
        return torch.stack([fg.relu(), bg.relu()], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """(K, h, w) in [0, 1]."""
        fg, bg = activation.unbind()
        return class_map(normalise(fg), normalise(bg))


@dataclass(frozen=True)
class Eq7Sigmoid:
    """Eq. 7 of the sigmoids of both scores, with bias, each averaged over scales and flips."""

    bias: ClassVar[bool] = True

    def activation(self, fg: Tensor, bg: Tensor) -> Tensor:
        """Both sigmoids, and ones, which count the maps in the sum: (N, 3, K, h, w)."""
        both = torch.stack([fg, bg], dim=1).sigmoid()
        return torch.cat([both, torch.ones_like(both[:, :1])], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """(K, h, w) in [0, 1]."""
        fg, bg, count = activation.unbind()
        return torch.maximum(fg, count - bg) / count


READINGS: Mapping[str, type[Reading]] = {
    "fg": ObjectMap,
    "mix": MaskedObject,
    "eq7": Eq7,
    "eq7_relu": Eq7Relu,
    "eq7_sigmoid": Eq7Sigmoid,
}
"""The readings of this module by their names in records."""
