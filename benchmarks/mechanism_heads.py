"""Heads of ``benchmarks/mechanism.py``: DEFT with other attentions and other swaps, each a subclass of its head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.classify.deft import DeftHead, DeftModule, aggregate
from deft.engine.head import soft_margin


@dataclass(frozen=True)
class CoupledHead(DeftHead):
    """One soft mask m in [0, 1] for both vectors: z_fg is pooled by m, z_bg by 1 - m.

    The paper's two attentions are independent of each other; here, what is not object is background. A prior on the
    mean of m keeps it from covering everything or nothing.
    """

    area: float = 0.35
    """Share of the cells that the mask should cover in the mean."""
    prior: float = 1.0
    """Weight of the squared distance from that share."""
    composite: bool = False
    """Replace the swaps by a composition: f_fg classifies the pooled object of an image and the pooled background of
    another, mixed by the share of the mask, as average pooling would see the object in front of that background."""

    def build(self, channels: int, classes: int) -> CoupledModule:
        """The module."""
        return CoupledModule(self, channels, classes)


class CoupledModule(DeftModule):
    """Weights of :class:`CoupledHead`."""

    settings: CoupledHead

    def mask(self, features: Tensor) -> Tensor:
        """(N, h * w) in [0, 1]."""
        scores: Tensor = self.m_fg.scores(features).flatten(2).mean(dim=1)
        return scores.float().sigmoid()

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms."""
        settings, mask = self.settings, self.mask(features)
        cells = features.flatten(2).transpose(1, 2)
        weights = torch.stack([mask, 1 - mask], dim=1)
        weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-4)
        z_fg, z_bg = (weights.to(cells.dtype) @ cells).unbind(dim=1)
        share = mask.mean(dim=1, keepdim=True)
        terms = self.disentangle(z_fg, z_bg, labels)
        terms["area"] = settings.prior * (share - settings.area).square().mean()
        if not settings.composite:
            return terms | self.swap(z_fg, z_bg, labels, epoch, rng)
        order = torch.randperm(len(labels), generator=rng)
        mixed = share.detach() * z_fg + (1 - share.detach()) * z_bg[order].detach()
        return terms | {"composite": soft_margin(self.f_fg(mixed), labels)}


@dataclass(frozen=True)
class SharpHead(DeftHead):
    """Attention that may learn fast, kept from collapsing by a floor of its perplexity."""

    floor: float = 0.5
    """Least perplexity as a share of the cells."""
    prior: float = 1.0
    """Weight of the shortfall, in nats."""

    def build(self, channels: int, classes: int) -> SharpModule:
        """The module."""
        return SharpModule(self, channels, classes)


class SharpModule(DeftModule):
    """Weights of :class:`SharpHead`."""

    settings: SharpHead

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms."""
        terms = super().loss(features, labels, epoch, rng)
        for name, aggregator in (("fg", self.m_fg), ("bg", self.m_bg)):
            attention = aggregator.attention(features).float()
            entropy = -(attention * attention.clamp(min=1e-9).log()).sum(dim=1)
            least = float(np.log(self.settings.floor * attention.shape[1]))
            terms[f"entropy of {name}"] = self.settings.prior * F.relu(least - entropy).mean()
        return terms


@dataclass(frozen=True)
class StoppedHead(DeftHead):
    """Stop-gradient between the two: the background vector trains its attention and classifier, not the features."""

    def build(self, channels: int, classes: int) -> StoppedModule:
        """The module."""
        return StoppedModule(self, channels, classes)


class StoppedModule(DeftModule):
    """Weights of :class:`StoppedHead`."""

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms."""
        (z_fg,), (z_bg,) = aggregate(features, [self.m_fg]), aggregate(features.detach(), [self.m_bg])
        return self.disentangle(z_fg, z_bg, labels) | self.swap(z_fg, z_bg, labels, epoch, rng)


@dataclass(frozen=True)
class PartnersHead(DeftHead):
    """Swapped backgrounds from chosen partners: images that share a class, images that share none, or past batches."""

    partners: str = "across"
    """``within``, ``across`` or ``queue``."""
    length: int = 256
    """Number of past background vectors in the queue."""

    def build(self, channels: int, classes: int) -> PartnersModule:
        """The module."""
        return PartnersModule(self, channels, classes)


class PartnersModule(DeftModule):
    """Weights of :class:`PartnersHead`."""

    settings: PartnersHead

    def __init__(self, settings: PartnersHead, channels: int, classes: int) -> None:
        super().__init__(settings, channels, classes)
        self.past: Tensor | None = None

    def swap(self, z_fg: Tensor, z_bg: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss of the pairs, with both weights on the background swap."""
        if epoch < self.settings.swap_epoch:
            return super().swap(z_fg, z_bg, labels, epoch, rng)
        backgrounds = z_bg.detach()
        if self.settings.partners == "queue":
            past = backgrounds if self.past is None else torch.cat([backgrounds, self.past])
            self.past = past[: self.settings.length]
            chosen = self.past[torch.randint(len(self.past), (len(labels),), generator=rng)]
        else:
            chosen = backgrounds[self._partners(labels, rng)]
        weight = self.settings.swap_background_weight + self.settings.swap_object_weight
        pairs = torch.cat([z_fg, chosen], dim=1)
        return {"swap_background": weight * soft_margin(self.swap_logits(pairs), labels)}

    def _partners(self, labels: Tensor, rng: torch.Generator) -> Tensor:
        shared = (labels @ labels.T) > 0
        allowed = shared if self.settings.partners == "within" else ~shared
        allowed &= ~torch.eye(len(labels), dtype=torch.bool)
        allowed |= ~allowed.any(dim=1, keepdim=True)  # an image without a partner may have any
        return torch.multinomial(allowed.float(), 1, generator=rng)[:, 0]
