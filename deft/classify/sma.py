"""SMA's additions to DEFT ("Learning to Detour: Shortcut Mitigating Augmentation", WACV 2024, arXiv:2405.18148).

The background vector is computed from all stages of the backbone, because scenes show in texture and colour, which
deep features lose; a loss on the unswapped pair is added to those of the swaps; the weights of all these losses rise
with the epochs; and the cosine between object and background vectors is penalised. Each can be switched off on its own.
Weights, targets, learning rates and f_swap are those of the released code.

That code has no licence, so this was written from facts about it. Side maps are L2-normalised and then resized
bilinearly to the grid of the last map. Their channels add up to those of the last map (4 x 512 for a ResNet-50's 2048),
because the cosine and f_bg need object and background vectors of equal length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.classify.deft import DeftHead, DeftModule, aggregate
from deft.classify.swap_forms import SharedSwap
from deft.engine.head import HeadModule, soft_margin
from deft.engine.ranks import gathered
from deft.ranges import Range, Weight, check_ranges

SIDES = 4
"""Number of stages, the deepest ones, from which the background is computed, if the backbone has as many."""


@dataclass(frozen=True)
class SmaHead:
    """Settings of SMA's head; with every option switched off it is DEFT's."""

    deft: DeftHead = field(
        default_factory=lambda: DeftHead(
            background_weight=0.2,
            background_target=0.0,
            swap_head=SharedSwap(),
            warm_start=False,
            attention_rate=10.0,
            classifier_rate=10.0,
            swap_rate=10.0,
        )
    )
    """The DEFT part, as released: the four terms have weights 1, 0.3, 0.3 and 0.2, f_bg(z_bg) has target 0, f_swap ends
    in the shared f_fg, and every new layer has 10 times the base learning rate. The loss on unswapped pairs replaces
    the warm start."""
    hierarchical: bool = True
    """Compute z_bg from all stages of the backbone, which it does not train."""
    concat_weight: Weight = 1.0
    """Weight of f_swap([z_fg, z_bg]) -> y, the unswapped pair; z_bg receives no gradient."""
    ramp_epochs: Annotated[int, Range(1, 100_000)] = 10
    """The weights of the pair and of the swaps are multiplied by epoch / ramp_epochs, at most by 1; 1 disables it."""
    similarity_weight: Weight = 1.0
    """Weight of -log(1 - cos(z_bg, z_fg)), averaged over all pairs of the batch; see :func:`similarity`."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_ranges(self)

    @property
    def swap_epoch(self) -> int:
        """``swap_epoch`` of the DEFT head."""
        return self.deft.swap_epoch

    @property
    def swaps(self) -> bool:
        """Whether anything is swapped."""
        return self.deft.swaps

    def build(self, channels: int, classes: int) -> SmaModule:
        """A head for one feature map; a hierarchical background needs :meth:`build_on`.

        Raises:
            ValueError: ``hierarchical`` is on.
        """
        if self.hierarchical:
            raise ValueError("a hierarchical background needs the channels of all feature maps: call build_on")
        return SmaModule(self, (channels,), classes)

    def build_on(self, channels: Sequence[int], classes: int) -> SmaModule:
        """A head for feature maps with these numbers of channels, shallow to deep."""
        return SmaModule(self, channels, classes)


class HierarchicalFeatures(nn.Module):
    """Features of all stages, L2-normalised per cell and resized to the last one's grid; gradients stop here."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.sides = tuple(channels)[-SIDES:]
        total, count = channels[-1], len(self.sides)
        widths = [total // count + (place < total % count) for place in range(count)]
        self.convs = nn.ModuleList(nn.Conv2d(c, w, 1, bias=False) for c, w in zip(self.sides, widths, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, ., .) to (N, C, h, w) with the channels and the grid of the last."""
        size = (maps[-1].shape[-2], maps[-1].shape[-1])
        parts = []
        for conv, one in zip(self.convs, maps[-len(self.sides) :], strict=True):
            seen = F.normalize(conv(one.detach()), dim=1)
            parts.append(F.interpolate(seen, size=size, mode="bilinear", align_corners=False))
        return torch.cat(parts, dim=1)


class SmaModule(HeadModule):
    """Weights of :class:`SmaHead`."""

    all_maps = True

    def __init__(self, settings: SmaHead, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.deft = DeftModule(settings.deft, channels[-1], classes)
        self.sides = HierarchicalFeatures(channels) if settings.hierarchical else None

    def loss_of_maps(
        self, maps: Sequence[Tensor], labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """DEFT's terms, with the ramp on those of the pairs, and ``concat`` and ``similarity``.

        Args:
            maps: feature maps, shallow to deep, (N, C_i, ., .).
            labels: float, (N, K).
            epoch: 1-based.
            rng: source of the permutations, on the CPU.
        """
        s, deft = self.settings, self.deft
        if self.sides is None:
            z_fg, z_bg = aggregate(maps[-1], [deft.m_fg, deft.m_bg])
        else:
            z_fg, z_bg = deft.m_fg(maps[-1]), deft.m_bg(self.sides(maps))
        terms = deft.disentangle(z_fg, z_bg, labels)
        pairs = deft.swap(z_fg, z_bg, labels, epoch, rng)
        if s.concat_weight:
            pair = torch.cat([z_fg, z_bg.detach()], dim=1)
            pairs["concat"] = s.concat_weight * soft_margin(deft.swap_logits(pair), labels)
        ramp = min(1.0, epoch / s.ramp_epochs)
        terms |= {name: ramp * term for name, term in pairs.items()}
        if s.similarity_weight:
            whole = gathered(z_bg.float()), gathered(z_fg.float())
            terms["similarity"] = s.similarity_weight * similarity(*whole)
        return terms

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """:meth:`loss_of_maps` with only the last map (N, C, h, w)."""
        return self.loss_of_maps([features], labels, epoch, rng)

    def logits(self, features: Tensor) -> Tensor:
        """Image scores f_fg(z_fg) before the sigmoid, (N, K)."""
        return self.deft.logits(features)

    def cell_scores(self, features: Tensor) -> Tensor:
        """DEFT's, ``w_fg z``, (N, K, h, w)."""
        return self.deft.cell_scores(features)

    def activation(self, features: Tensor) -> Tensor:
        """DEFT's, (N, B, K, h, w); the side maps are used in training only."""
        return self.deft.activation(features)

    def combine(self, activation: Tensor) -> Tensor:
        """DEFT's class maps, (K, h, w) in [0, 1]."""
        return self.deft.combine(activation)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """DEFT's groups, and the side convolutions at the learning rate of its classifiers."""
        sides = [] if self.sides is None else [(list(self.sides.parameters()), self.settings.deft.classifier_rate)]
        return [*self.deft.groups(), *sides]


def similarity(z_bg: Tensor, z_fg: Tensor) -> Tensor:
    """-log(1 - cos) averaged over all N x N pairs of a background and an object vector of the batch.

    The cosine is clamped to 0.0005 to 0.9995, so that pairs with a negative cosine have no gradient.

    Args:
        z_bg: background vectors, (N, C).
        z_fg: object vectors, (N, C).

    Returns:
        Scalar, 0.0005 to 7.6.
    """
    cosine = F.normalize(z_bg, dim=1) @ F.normalize(z_fg, dim=1).T
    return -(1 - cosine.clamp(0.0005, 0.9995)).log().mean()
