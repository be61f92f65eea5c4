"""Forms of f_swap, which scores a pair of an object and a background vector (DEFT, Eq. 5).

The forms of the paper and of the released code are linear: f_swap([a, b]) = W1 a + W2 b. Since the background is
detached, the background of another image then affects the features only as noise that is independent of the labels. In
:class:`MlpSwap`, an extension, object and background can interact; :class:`ObjectSwap`, a control, has no background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class SwapForm(Protocol):
    """A form of f_swap; a frozen dataclass."""

    additive: ClassVar[bool]
    """Whether the score is a sum of one term of the object and one of the background."""

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """The layers of f_swap; the first is linear and takes pairs ``[object, background]``, 2 x ``channels``."""

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """Scores before the sigmoid, (N, K), of pairs (N, 2C).

        Args:
            f_swap: the layers that :meth:`build` made.
            f_fg: the classifier of object vectors, from C to K.
            pair: ``[object, background]``, (N, 2C).
        """


@dataclass(frozen=True)
class LinearSwap:
    """One linear layer from 2C to K, as in the paper."""

    additive: ClassVar[bool] = True

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """The linear layer."""
        return nn.Sequential(nn.Linear(2 * channels, classes))

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """Scores before the sigmoid, (N, K)."""
        scores: Tensor = f_swap(pair)
        return scores


@dataclass(frozen=True)
class SharedSwap:
    """One linear layer from 2C to C, followed by f_fg itself, as in the released code."""

    additive: ClassVar[bool] = True

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """The linear layer before f_fg."""
        return nn.Sequential(nn.Linear(2 * channels, channels))

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """Scores before the sigmoid, (N, K)."""
        scores: Tensor = f_fg(f_swap(pair))
        return scores


@dataclass(frozen=True)
class MlpSwap:
    """A hidden layer of C units: an extension that is not in the paper."""

    additive: ClassVar[bool] = False

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """The hidden and the output layer."""
        return nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, classes))

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """Scores before the sigmoid, (N, K)."""
        scores: Tensor = f_swap(pair)
        return scores


@dataclass(frozen=True)
class ObjectSwap:
    """One linear layer from the object's C to K: a control that is trained like f_swap and sees no background."""

    additive: ClassVar[bool] = True

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """The linear layer, of which the weights for the background are 0."""
        layer = nn.Linear(2 * channels, classes)
        with torch.no_grad():
            layer.weight[:, channels:] = 0
        return nn.Sequential(layer)

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """Scores before the sigmoid, (N, K)."""
        on_object, on_background = pair.chunk(2, dim=1)
        scores: Tensor = f_swap(torch.cat([on_object, torch.zeros_like(on_background)], dim=1))
        return scores


SWAP_FORMS: Mapping[str, type[SwapForm]] = {
    "linear": LinearSwap,
    "shared": SharedSwap,
    "mlp": MlpSwap,
    "object": ObjectSwap,
}
"""The forms of this module, by their names in records."""
