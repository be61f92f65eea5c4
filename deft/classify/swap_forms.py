"""Forms of f_swap, which scores a pair of an object and a background vector (DEFT, Eq. 5).

The paper's form is linear, and so is the released one. Then f_swap([a, b]) = W1 a + W2 b is a sum, and since the
background is detached, a foreign one reaches the features as noise that does not depend on the labels. In
:class:`MlpSwap`, our extension, object and background can interact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class SwapForm(Protocol):
    """A form of f_swap; a frozen dataclass."""

    additive: ClassVar[bool]
    """Whether what an object and what a background adds to the scores do not depend on each other."""

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """The layers; the first is linear, on pairs ``[object, background]`` of ``channels`` each."""

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """Scores before the sigmoid, (N, K), of pairs (N, 2C).

        Args:
            f_swap: the layers that :meth:`build` made.
            f_fg: the classifier of object vectors, C to K.
            pair: ``[object, background]``, (N, 2C).
        """


@dataclass(frozen=True)
class LinearSwap:
    """One layer, 2C to K: the paper's."""

    additive: ClassVar[bool] = True

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """The layer."""
        return nn.Sequential(nn.Linear(2 * channels, classes))

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """(N, K)."""
        scores: Tensor = f_swap(pair)
        return scores


@dataclass(frozen=True)
class SharedSwap:
    """One layer, 2C to C, then f_fg itself: the released code's."""

    additive: ClassVar[bool] = True

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """The layer before f_fg."""
        return nn.Sequential(nn.Linear(2 * channels, channels))

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """(N, K)."""
        scores: Tensor = f_fg(f_swap(pair))
        return scores


@dataclass(frozen=True)
class MlpSwap:
    """One hidden layer of C: an extension, no part of the paper."""

    additive: ClassVar[bool] = False

    def build(self, channels: int, classes: int) -> nn.Sequential:
        """Both layers."""
        return nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, classes))

    def logits(self, f_swap: nn.Sequential, f_fg: nn.Linear, pair: Tensor) -> Tensor:
        """(N, K)."""
        scores: Tensor = f_swap(pair)
        return scores


SWAP_FORMS: Mapping[str, type[SwapForm]] = {"linear": LinearSwap, "shared": SharedSwap, "mlp": MlpSwap}
"""The forms of this module by their names in records."""
