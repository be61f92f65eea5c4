"""Classifier heads: the base class of their modules, with defaults, and the protocol of their settings.

A head consists of settings, a frozen dataclass with :meth:`Head.build`, and of a trainable :class:`HeadModule`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.backbone import Backbone
from deft.contracts import InputError
from deft.engine.parts import in_parts

Look = Callable[[Tensor], Sequence[Tensor]]
"""Feature maps of normalised images (N, 3, H, W), with gradients, in the form that :meth:`HeadModule.loss_of_maps` has
them: what a head looks with at views of its own."""


class HeadModule(nn.Module):
    """The trainable part of a classifier head.

    A head defines :meth:`logits` and :meth:`activation`; the defaults of the other methods suit most heads. Features
    have the precision of training: 16-bit if it is mixed.
    """

    all_maps = False
    """Whether the head is trained on all feature maps, see :meth:`HeadModule.loss_of_maps`; scores use the last."""
    with_images = False
    """Whether the normalised images (N, 3, H, W) come before the feature maps, in training and where maps are read."""
    reads_maps = False
    """Whether class maps are read from all feature maps and the tags, see :meth:`activation_of_maps`."""

    def logits(self, features: Tensor) -> Tensor:
        """Class scores before the sigmoid, (N, K), from features (N, C, h, w)."""
        raise NotImplementedError

    def activation(self, features: Tensor) -> Tensor:
        """Class maps of B branches, (N, B, K, h, w), non-negative; they are summed over scales and flips."""
        raise NotImplementedError

    def cell_scores(self, features: Tensor) -> Tensor:
        """Score of each class in each cell, (N, K, h, w), of which the image score is some average.

        Default: the first branch of :meth:`activation`, which has no negative scores.
        """
        return self.activation(features)[:, 0]

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Weighted loss terms by name, to be summed; each is plotted as a curve. Default: soft margin loss.

        Args:
            features: (N, C, h, w).
            labels: float multi-hot, (N, K).
            epoch: 1-based.
            rng: the only source of randomness, on the CPU.
        """
        return {"classify": soft_margin(self.logits(features), labels)}

    def loss_of_maps(
        self, maps: Sequence[Tensor], labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """Like :meth:`loss`, on maps (N, C_i, h_i, w_i), shallow to deep; only the last unless :attr:`all_maps`."""
        return self.loss(maps[-1], labels, epoch, rng)

    def loss_of_views(
        self, maps: Sequence[Tensor], look: Look, labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """Like :meth:`loss_of_maps`, for a head that compares the batch with views of its own, such as smaller ones.

        Settings of such a head have an attribute ``own_views``, which is true: augmentations of features are then
        refused. Default: :meth:`loss_of_maps`, without any view.

        Args:
            maps: of the batch, as for :meth:`loss_of_maps`.
            look: computes the maps of other normalised images (N', 3, H', W'), made from those of the batch.
            labels: as for :meth:`loss`, like the others.
            epoch: 1-based.
            rng: the only source of randomness.
        """
        return self.loss_of_maps(maps, labels, epoch, rng)

    def activation_of_maps(self, maps: Sequence[Tensor], present: Tensor) -> Tensor:
        """Like :meth:`activation`, on all feature maps; called where :attr:`reads_maps` is set.

        Args:
            maps: of views of one image, (N, C_i, h_i, w_i), shallow to deep.
            present: bool (K,), the classes of the image.
        """
        return self.activation(maps[-1])

    def combine(self, activation: Tensor) -> Tensor:
        """Maps in [0, 1], (K, h, w), from one image's summed activation (B, K, h, w).

        Default: each class of the first branch, divided by its maximum.
        """
        return normalise(activation[0])

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameter groups, each with its multiple of the base learning rate. Default: 10 for all, as in IRN."""
        return [(list(self.parameters()), 10.0)]


class Head(Protocol):
    """Settings of a classifier head; a frozen dataclass."""

    def build(self, channels: int, classes: int) -> HeadModule:
        """The module for features of ``channels`` channels and ``classes`` classes without background."""


@runtime_checkable
class AllMapsHead(Head, Protocol):
    """Settings of a head that is trained on all feature maps."""

    def build_on(self, channels: Sequence[int], classes: int) -> HeadModule:
        """The module, with ``all_maps``, for feature maps with these numbers of channels, shallow to deep."""


def maps_for(head: HeadModule, backbone: Backbone, x: Tensor, parts: int) -> Sequence[Tensor]:
    """What a head is trained on, of normalised images (N, 3, H, W): all feature maps, or only the last.

    Args:
        head: says which it needs, and whether the images come first.
        backbone: makes them.
        x: the images.
        parts: number of parts in which they are computed, see :mod:`deft.engine.parts`.
    """
    if head.all_maps:
        maps: Sequence[Tensor] = in_parts(backbone.features, x, parts)
    else:
        maps = [in_parts(lambda part: backbone.features(part)[-1], x, parts)]
    return [x, *maps] if head.with_images else maps


def checked(built: object) -> HeadModule:
    """Check what the settings of a head have built, and return it.

    Raises:
        InputError: it is not a :class:`HeadModule`, or lacks a method that every head needs.
    """
    kind = type(built)
    if not isinstance(built, HeadModule):
        raise InputError(
            "expected the build(...) of classifier.head to return a deft.HeadModule, got "
            f"{kind.__name__}; derive {kind.__name__} from HeadModule, and define logits and activation"
        )
    missing = [name for name in ("logits", "activation") if getattr(kind, name) is getattr(HeadModule, name)]
    if missing:
        raise InputError(
            f"expected the head {kind.__name__} to define logits(features) and activation(features), as "
            f"deft.HeadModule describes them; it lacks {' and '.join(missing)}"
        )
    return built


def soft_margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Multi-label soft margin loss: sigmoid cross-entropy averaged over classes and images."""
    return F.binary_cross_entropy_with_logits(logits, targets)


def normalise(maps: Tensor) -> Tensor:
    """Divide each non-negative class map by its own maximum: (..., K, h, w) to [0, 1]; an empty map stays zero."""
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + 1e-5)
