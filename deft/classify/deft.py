"""The DEFT head: "Disentangled Feature Swapping Augmentation for Weakly Supervised Semantic Segmentation".

Two attention aggregators describe an image by an object vector and a background vector, four losses pull the two apart
(Eq. 3), and swapping the vectors between images of a batch breaks the tie of an object to its usual scene (Eq. 4-6,
:mod:`deft.augment.feature_swap`). Follow-up by the same idea: SMA, "Learning to Detour", WACV 2024, arXiv:2405.18148.

The paper leaves points open and in places contradicts itself; every such point is a field of :class:`DeftHead` with
the reason beside it. Three readings are settled in code: the swap detaches ``z_bg`` only (detaching the swapped pair,
as printed, would train nothing), the maximum of Eq. 7 is taken element by element between two maps of one class (over
channels it would give one map for all classes), and maps use no bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.augment.feature_swap import swap_background, swap_object
from deft.engine.head import HeadModule, normalise, soft_margin
from deft.engine.ranks import gathered


@dataclass(frozen=True)
class DeftHead:
    """Settings of the DEFT head."""

    maps: int = 256
    """M, attention maps per aggregator, averaged before pooling. No value is printed; this is the released code's. With
    fewer, what the average looks like hangs more on its random beginning, and seeds differ more."""
    temperature: float = 1.0
    """Divides the attention logits before the softmax over the grid; larger is broader. The paper has none (1)."""
    init_scale: float = 1.0
    """Multiplies the initial attention weights. 0 starts as average pooling, but all M maps then stay one sharp map."""
    uniform: float = 0.0
    """Share of plain average pooling blended into the object attention, in [0, 1]. The paper has none (0)."""
    object_weight: float = 1.0
    """Weight of f_fg(z_fg) -> y, the classification term."""
    object_as_background: float = 0.3
    """Weight of f_bg(z_fg) -> 1 - y (the paper's 0.3, as for the next two)."""
    background_as_object: float = 0.3
    """Weight of f_fg(z_bg) -> 0."""
    background_weight: float = 0.3
    """Weight of f_bg(z_bg) -> 1."""
    eq3_literal: bool = False
    """Take Eq. 3 as printed: f_bg(z_fg) -> 0 and f_fg(z_bg) -> 1 - y. The paper's text says the reverse and gives
    the reasons; as printed the background would be trained to show every absent class."""
    background_target: float = 1.0
    """Target of f_bg(z_bg): 1 in text and equation; the follow-up's released code has 0."""
    swap_background_weight: float = 1.0
    """Weight of f_swap([z_fg, foreign z_bg]) -> y; the paper has none (1)."""
    swap_object_weight: float = 1.0
    """Weight of f_swap([foreign z_fg, z_bg]) -> foreign y, likewise."""
    swap_head: Literal["linear", "shared", "mlp"] = "linear"
    """f_swap. ``linear``: Linear(2C -> K), the paper's Eq. 5. ``shared``: Linear(2C -> C), then f_fg, as released.
    ``mlp``: one hidden layer, our extension; the other two are additive, so a foreign background is only noise."""
    swap_epoch: int = 6
    """t_aug, 1-based: swapping starts with this epoch. The paper says iteration, but sets 6 of 10 epochs."""
    warm_start: bool = True
    """Train f_swap on unswapped pairs before ``swap_epoch``. Starting it cold sends a large loss into the
    features in mid-training and destroys the classifier; the paper does not say."""
    warm_start_features: bool = True
    """Whether the unswapped pairs train the features as well as f_swap."""
    two_permutations: bool = False
    """Draw a permutation for each of the two swaps; the released code shares one."""
    map: Literal["fg", "mix", "eq7", "eq7_relu", "eq7_sigmoid"] = "eq7"
    """Which map is read. ``fg``: relu(w_fg z), what the released code returns. ``mix``: that, where it is at least
    relu(w_bg z). The rest is Eq. 7, max(fg, 1 - bg), which does not say how unbounded logits reach the scale of the 1:
    ``eq7_relu`` divides both rectified maps by their maximum, ``eq7_sigmoid`` takes sigmoids, with bias, and ``eq7``
    rectifies the object map only and stretches the background map between its extremes. A rectified background map
    is flat wherever f_bg says "object", the part that matters; stretched, it gave the best maps on photographs."""
    map_power: float = 3.0
    """For ``eq7``: exponent of the whole map, at least 1. It changes the scale and no order: a stretched map is about
    0.6 on the edge of an object, cubed about 0.2, where the thresholds usual for class maps lie (0.15, and 0.30 and
    0.05 for confident labels)."""
    attention_rate: float = 0.1
    """Multiplier of the base learning rate for M_fg and M_bg. Between 0.01 and 1 it makes no difference to the
    maps (``benchmarks/choices.md``); new layers usually have 10."""
    classifier_rate: float = 10.0
    """Multiplier for f_fg and f_bg, as for any new layer in IRN."""
    swap_rate: float = 1.0
    """Multiplier for f_swap."""

    @property
    def swaps(self) -> bool:
        """Whether anything is swapped."""
        return self.swap_background_weight > 0 or self.swap_object_weight > 0

    def build(self, channels: int, classes: int) -> DeftModule:
        """A head for features of ``channels`` channels and ``classes`` classes without background."""
        return DeftModule(self, channels, classes)


class Aggregator(nn.Module):
    """M_fg or M_bg: M attention maps from a 1x1 convolution with bias and a softmax over the grid (Eq. 1, 2)."""

    def __init__(self, channels: int, maps: int, temperature: float, init_scale: float, uniform: float) -> None:
        super().__init__()
        self.scores = nn.Conv2d(channels, maps, 1)
        self.temperature = temperature
        self.uniform = uniform
        with torch.no_grad():
            self.scores.weight.mul_(init_scale)

    def attention(self, features: Tensor) -> Tensor:
        """Mean of the M maps, (N, h * w), each summing to 1."""
        return self.average(self.scores(features).flatten(2))

    def average(self, scores: Tensor) -> Tensor:
        """As :meth:`attention`, from the scores of the M maps, (N, M, h * w)."""
        attention: Tensor = (scores / self.temperature).softmax(dim=2).mean(dim=1)
        return (1 - self.uniform) * attention + self.uniform / attention.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        """Pool features (N, C, h, w) to (N, C)."""
        return aggregate(features, [self])[0]


def aggregate(features: Tensor, aggregators: Sequence[Aggregator]) -> Sequence[Tensor]:
    """The vectors (N, C) that several aggregators make of the same features (N, C, h, w).

    Averaging the maps first gives the mean of the M pooled vectors without building them. The scores of all aggregators
    are one product and their vectors another: features and their gradient are large, and each pass over them counts.
    """
    weight = torch.cat([one.scores.weight for one in aggregators])
    bias = torch.cat([one.scores.bias for one in aggregators if one.scores.bias is not None])
    scores = F.conv2d(features, weight, bias).flatten(2).chunk(len(aggregators), dim=1)
    attention = torch.stack([one.average(part) for one, part in zip(aggregators, scores, strict=True)], dim=1)
    return torch.matmul(attention, features.flatten(2).transpose(1, 2)).unbind(dim=1)


class DeftModule(HeadModule):
    """Weights of :class:`DeftHead`."""

    def __init__(self, settings: DeftHead, channels: int, classes: int) -> None:
        super().__init__()
        s = self.settings = settings
        self.m_fg = Aggregator(channels, s.maps, s.temperature, s.init_scale, s.uniform)
        self.m_bg = Aggregator(channels, s.maps, s.temperature, s.init_scale, 0.0)
        self.f_fg = nn.Linear(channels, classes)
        self.f_bg = nn.Linear(channels, classes)
        hidden = nn.Linear(2 * channels, classes if s.swap_head == "linear" else channels)
        self.f_swap = nn.Sequential(hidden)
        if s.swap_head == "mlp":
            self.f_swap.extend([nn.ReLU(), nn.Linear(channels, classes)])

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms of Eq. 3 and Eq. 6.

        Args:
            features: (N, C, h, w).
            labels: float multi-hot, (N, K).
            epoch: 1-based; from ``swap_epoch`` on the vectors are swapped.
            rng: source of the permutations, on the CPU.

        Returns:
            Scalars to be summed: ``classify``, ``object_as_background``, ``background_as_object``, ``background`` and
            ``swap_background``, ``swap_object`` or, before ``swap_epoch``, ``warm_start``.
        """
        z_fg, z_bg = aggregate(features, [self.m_fg, self.m_bg])
        return self.disentangle(z_fg, z_bg, labels) | self.swap(z_fg, z_bg, labels, epoch, rng)

    def disentangle(self, z_fg: Tensor, z_bg: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Eq. 3: what each of the two vectors (N, C) is, and what it is not."""
        s = self.settings
        absent, nothing = 1 - labels, torch.zeros_like(labels)
        not_background, not_object = (nothing, absent) if s.eq3_literal else (absent, nothing)
        background = torch.full_like(labels, s.background_target)
        return {
            "classify": s.object_weight * soft_margin(self.f_fg(z_fg), labels),
            "object_as_background": s.object_as_background * soft_margin(self.f_bg(z_fg), not_background),
            "background_as_object": s.background_as_object * soft_margin(self.f_fg(z_bg), not_object),
            "background": s.background_weight * soft_margin(self.f_bg(z_bg), background),
        }

    def swap(self, z_fg: Tensor, z_bg: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Eq. 5 and 6: the labels follow the object whatever the background. No gradient reaches ``z_bg``.

        Vectors are swapped within the global batch. It is small, so that each of several processes computes the whole
        loss, from permutations that ``rng`` draws alike.
        """
        s = self.settings
        if epoch < s.swap_epoch:
            if not (s.warm_start and s.swaps):
                return {}
            z_fg = z_fg if s.warm_start_features else z_fg.detach()
            pair = torch.cat([z_fg, z_bg.detach()], dim=1)
            weight = max(s.swap_background_weight, s.swap_object_weight)
            return {"warm_start": weight * soft_margin(self.swap_logits(pair), labels)}
        z_fg, z_bg, labels = gathered(z_fg.float()), gathered(z_bg.detach().float()), gathered(labels)
        perm = torch.randperm(len(labels), generator=rng).to(labels.device)
        other = torch.randperm(len(labels), generator=rng).to(labels.device) if s.two_permutations else perm
        terms: dict[str, Tensor] = {}
        if s.swap_background_weight:
            logits = self.swap_logits(swap_background(z_fg, z_bg, perm))
            terms["swap_background"] = s.swap_background_weight * soft_margin(logits, labels)
        if s.swap_object_weight:
            logits = self.swap_logits(swap_object(z_fg, z_bg, other))
            terms["swap_object"] = s.swap_object_weight * soft_margin(logits, labels[other])
        return terms

    def swap_logits(self, pair: Tensor) -> Tensor:
        """f_swap of ``[object, background]`` (N, 2C): (N, K)."""
        scores: Tensor = self.f_swap(pair)
        return self.f_fg(scores) if self.settings.swap_head == "shared" else scores

    def logits(self, features: Tensor) -> Tensor:
        """Image scores f_fg(z_fg) before the sigmoid, (N, K)."""
        scores: Tensor = self.f_fg(self.m_fg(features))
        return scores

    def activation(self, features: Tensor) -> Tensor:
        """Class maps on every cell, (N, 3, K, h, w), non-negative.

        The branches are the positive part of w_fg z and the positive and negative parts of w_bg z, so that sums over
        scales keep the sign of the latter. For ``eq7_sigmoid`` they are the two sigmoids and ones, which count the sum.
        """
        if self.settings.map == "eq7_sigmoid":
            fg, bg = _on_cells([self.f_fg, self.f_bg], features, bias=True).sigmoid().chunk(2, dim=1)
            return torch.stack([fg, bg, torch.ones_like(fg)], dim=1)
        fg, bg = _on_cells([self.f_fg, self.f_bg], features, bias=False).chunk(2, dim=1)
        return torch.stack([fg.relu(), bg.relu(), (-bg).relu()], dim=1)

    def combine(self, activation: Tensor) -> Tensor:
        """The map that is read, (K, h, w) in [0, 1], from one image's activation (3, K, h, w) summed over scales."""
        reading = self.settings.map
        if reading == "eq7_sigmoid":
            fg, bg, count = activation.unbind()
            return torch.maximum(fg, count - bg) / count
        fg, bg, not_bg = activation.unbind()
        if reading == "eq7":
            signed = not_bg - bg
            stretched = normalise(signed - signed.amin(dim=(1, 2), keepdim=True))
            return torch.maximum(normalise(fg), stretched) ** self.settings.map_power
        if reading == "eq7_relu":
            return torch.maximum(normalise(fg), 1 - normalise(bg))
        if reading == "mix":
            return normalise(torch.where(fg >= bg, fg, torch.zeros_like(fg)))
        return normalise(fg)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters with the multiplier of the base learning rate they train at."""
        s = self.settings
        return [
            ([*self.m_fg.parameters(), *self.m_bg.parameters()], s.attention_rate),
            ([*self.f_fg.parameters(), *self.f_bg.parameters()], s.classifier_rate),
            (list(self.f_swap.parameters()), s.swap_rate),
        ]

    @torch.no_grad()
    def background_reliance(self) -> float:
        """Norm of f_swap's background half over its object half: how much the classifier leans on the scene (>= 0)."""
        on_object, on_background = next(self.f_swap.parameters()).chunk(2, dim=1)
        return float(torch.linalg.vector_norm(on_background) / torch.linalg.vector_norm(on_object))


def _on_cells(classifiers: Sequence[nn.Linear], features: Tensor, bias: bool) -> Tensor:
    """Apply linear classifiers to every cell of (N, C, h, w): (N, K of all, h, w)."""
    weight = torch.cat([one.weight for one in classifiers])[:, :, None, None]
    return F.conv2d(features, weight, torch.cat([one.bias for one in classifiers]) if bias else None)
