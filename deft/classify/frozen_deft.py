"""DEFT on features that are not trained: one classifier, taught what is background and to do without it.

DEFT's attention maps begin at random, and both vectors are almost the same at first. Where the backbone is trained,
features and attention come apart together. Frozen features do not, and the term that asks the object classifier to
score a background vector as nothing then works against the one that asks it to score the object vector: plain maps are
better. Two things take the place of attention:

* The background vector pools where the classifier's own maps of an image's tags are low, by a softmax over the negative
  map. No gradient passes through the map.
* The object vector is the mean of the features, in which a background is replaced by that of another image: what is
  swapped is a part of one vector, instead of one of two vectors. The composite keeps its tags.

f_bg and f_swap are left out. They share no weights with f_fg, so that they could change its maps only by way of the
features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from deft.classify.linear import LinearHead, LinearModule
from deft.engine.head import soft_margin
from deft.engine.ranks import gathered
from deft.ranges import Factor, Range, Weight, check_ranges


@dataclass(frozen=True)
class FrozenDeftHead:
    """Settings of DEFT's head for frozen features."""

    learning_rate: Weight = 1.0
    """Multiplier of the base rate for the classifier's weights."""
    background_as_object: Weight = 0.3
    """Weight of f_fg(z_bg) -> 0, as in DEFT."""
    swap_background_weight: Weight = 1.0
    """Weight of f_fg(z - z_bg + swapped z_bg) -> y."""
    softness: Factor = 0.5
    """Standard deviations of the map by which a lower value raises the attention of the background by a factor of e."""
    swap_epoch: Annotated[int, Range(0, 100_000)] = 3
    """First epoch, 1-based, with a background: the maps of an untrained classifier show nothing."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

    def build(self, channels: int, classes: int) -> FrozenDeftModule:
        """A head for features of ``channels`` channels and ``classes`` classes without background."""
        return FrozenDeftModule(self, channels, classes)


class FrozenDeftModule(LinearModule):
    """Weights of :class:`FrozenDeftHead`: those of f_fg, whose maps are read as plain class maps."""

    def __init__(self, settings: FrozenDeftHead, channels: int, classes: int) -> None:
        super().__init__(LinearHead(learning_rate=settings.learning_rate), channels, classes)
        self.deft = settings

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """``classify`` and, from ``swap_epoch`` on, ``background_as_object`` and ``swap_background``.

        Args:
            features: (N, C, h, w).
            labels: float multi-hot, (N, K).
            epoch: 1-based.
            rng: source of the permutation, on the CPU.
        """
        whole = features.mean(dim=(2, 3))
        terms = {"classify": soft_margin(self.of_vectors(whole), labels)}
        if epoch < self.deft.swap_epoch:
            return terms
        attention = self.background_attention(features, labels).flatten(1)
        background = (features.flatten(2) @ attention[:, :, None])[:, :, 0]
        nothing = soft_margin(self.of_vectors(background), torch.zeros_like(labels))
        # The global batch is small, so each of several processes swaps within the whole of it.
        whole, background, labels = gathered(whole.float()), gathered(background.float()), gathered(labels)
        perm = torch.randperm(len(labels), generator=rng).to(labels.device)
        composite = whole - background + background[perm]
        return terms | {
            "background_as_object": self.deft.background_as_object * nothing,
            "swap_background": self.deft.swap_background_weight * soft_margin(self.of_vectors(composite), labels),
        }

    @torch.no_grad()
    def background_attention(self, features: Tensor, labels: Tensor) -> Tensor:
        """Where the maps of an image's tags are low, (N, h, w), each summing to 1; even in an image without tags.

        Arguments as for :meth:`loss`.
        """
        scores = self.cell_scores(features).float().flatten(2)
        lowest = scores.amin(dim=(1, 2), keepdim=True)
        tagged = torch.where(labels[:, :, None] > 0, scores, lowest).amax(dim=1)
        one_cell = tagged.shape[1] == 1  # which has no deviation
        deviation = tagged.std(dim=1, keepdim=True, correction=0 if one_cell else 1).clamp(min=1e-6)
        attention = (-tagged / (self.deft.softness * deviation)).softmax(dim=1)
        return attention.view(len(features), *features.shape[2:]).to(features)

    def of_vectors(self, vectors: Tensor) -> Tensor:
        """f_fg: scores before the sigmoid, (N, K), of vectors (N, C)."""
        scores: Tensor = self.classifier(vectors[:, :, None, None])
        return scores[:, :, 0, 0]
