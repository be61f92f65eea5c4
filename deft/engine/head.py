"""Classifier heads: what a head is, and what every head can leave as it is.

A head is two things: settings, a frozen dataclass with :meth:`Head.build`, and weights, a :class:`HeadModule`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.contracts import InputError


class HeadModule(nn.Module):
    """The weights of a classifier head, and what is done with them.

    A head defines :meth:`logits` and :meth:`activation`; the other methods suit most heads as they are. Features come
    in the precision that training computes in, 16 bits where it is mixed.
    """

    all_maps = False
    """Whether the head learns from all feature maps, see :meth:`loss_of_maps`; scores and maps need the last alone."""

    def logits(self, features: Tensor) -> Tensor:
        """Class scores before the sigmoid, (N, K), of features (N, C, h, w)."""
        raise NotImplementedError

    def activation(self, features: Tensor) -> Tensor:
        """Class maps of B branches, (N, B, K, h, w), non-negative; they are summed over scales and flips."""
        raise NotImplementedError

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Weighted terms to be summed, by name; each is drawn as a curve. Here the soft margin loss, ``classify``.

        Args:
            features: (N, C, h, w).
            labels: float multi-hot, (N, K).
            epoch: 1-based.
            rng: the only source of chance, on the CPU.
        """
        return {"classify": soft_margin(self.logits(features), labels)}

    def loss_of_maps(
        self, maps: Sequence[Tensor], labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """As :meth:`loss`, of maps (N, C_i, ., .), shallow to deep; the last alone unless :attr:`all_maps`."""
        return self.loss(maps[-1], labels, epoch, rng)

    def combine(self, activation: Tensor) -> Tensor:
        """Maps in [0, 1], (K, h, w), of one image's summed activation (B, K, h, w).

        Here each class of the first branch divided by its maximum.
        """
        return normalise(activation[0])

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters with the multiple of the base learning rate they are trained at. Here 10 for all, as in IRN."""
        return [(list(self.parameters()), 10.0)]


class Head(Protocol):
    """Settings of a classifier head; a frozen dataclass."""

    def build(self, channels: int, classes: int) -> HeadModule:
        """The weights, for features of ``channels`` channels and ``classes`` classes without background."""


@runtime_checkable
class AllMapsHead(Head, Protocol):
    """Settings of a head that learns from all feature maps."""

    def build_on(self, channels: Sequence[int], classes: int) -> HeadModule:
        """The weights, with ``all_maps``, for feature maps of so many channels, shallow to deep."""


def checked(built: object) -> HeadModule:
    """What the settings of a head built, if it can be trained and read.

    Raises:
        InputError: it is no :class:`HeadModule`, or lacks a method that every head needs.
    """
    kind = type(built)
    if not isinstance(built, HeadModule):
        raise InputError(
            "expected the build(...) of classifier.head to return a deft.engine.head.HeadModule, got "
            f"{kind.__name__}; derive {kind.__name__} from HeadModule, and define logits and activation"
        )
    missing = [name for name in ("logits", "activation") if getattr(kind, name) is getattr(HeadModule, name)]
    if missing:
        raise InputError(
            f"expected the head {kind.__name__} to define logits(features) and activation(features), as "
            f"deft.engine.head.HeadModule describes them; it lacks {' and '.join(missing)}"
        )
    return built


def soft_margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Multi-label soft margin loss: sigmoid cross-entropy averaged over classes and images."""
    return F.binary_cross_entropy_with_logits(logits, targets)


def normalise(maps: Tensor) -> Tensor:
    """Divide each non-negative class map by its own maximum: (..., K, h, w) to [0, 1]; an empty map stays zero."""
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + 1e-5)
