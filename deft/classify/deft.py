"""The DEFT head: "Disentangled Feature Swapping Augmentation for Weakly Supervised Semantic Segmentation".

Two attention aggregators compute an object vector and a background vector of an image, four losses disentangle them,
and swapping the vectors between the images of a batch makes a class independent of its usual scene. The follow-up is
SMA, "Learning to Detour", WACV 2024, arXiv:2405.18148.

The paper's equations come first, as functions:

* Eq. 1, 2: :func:`pooled_vector`; :func:`aggregate` computes the same faster
* Eq. 3: :func:`disentangling_losses`
* Eq. 4: :mod:`deft.augment.feature_swap`
* Eq. 5, 6: :func:`background_swap_loss` and :func:`object_swap_loss`, with f_swap from :mod:`deft.classify.swap_forms`
* Eq. 7: :func:`deft.classify.readings.class_map`

The paper leaves some points open and contradicts itself in places. Each of these is a field of :class:`DeftHead`, with
the reason. Two are fixed: the swap detaches only ``z_bg`` (if the swapped pair were detached, as printed, the features
would not be trained), and the maximum of Eq. 7 is taken between the two maps of a class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.augment.feature_swap import swap_background, swap_object
from deft.classify.readings import READINGS, Eq7, Reading
from deft.classify.swap_forms import SWAP_FORMS, LinearSwap, SwapForm
from deft.contracts import InputError
from deft.engine.head import HeadModule, soft_margin
from deft.engine.ranks import gathered
from deft.ranges import Factor, Range, Share, Weight, check_ranges
from deft.settings import one_of, read_only

Scores = Callable[[Tensor], Tensor]
"""A classifier of vectors (N, C), or of pairs (N, 2C): scores before the sigmoid, (N, K)."""


def pooled_vector(features: Tensor, scores: Tensor) -> Tensor:
    """Eq. 1 and 2: z_fg or z_bg, (N, C); the mean of the M vectors that M attention maps pool.

    Args:
        features: z, (N, C, h, w).
        scores: theta(z) or phi(z), (N, M, h, w).
    """
    attention = scores.flatten(2).softmax(dim=2)  # A, (N, M, h * w)
    vectors = attention @ features.flatten(2).transpose(1, 2)  # A z^T, (N, M, C)
    return vectors.mean(dim=1)


def disentangling_losses(
    f_fg: Scores,
    f_bg: Scores,
    z_fg: Tensor,
    z_bg: Tensor,
    labels: Tensor,
    *,
    as_printed: bool = False,
    background: float = 1.0,
) -> dict[str, Tensor]:
    """Eq. 3: each vector is classified as its own kind, and not as the other kind.

    Args:
        f_fg: classifier of objects.
        f_bg: classifier of backgrounds.
        z_fg: object vectors, (N, C).
        z_bg: background vectors, (N, C).
        labels: y, float multi-hot, (N, K).
        as_printed: use the targets of the two middle terms as in the printed equation, where they are exchanged;
            the default is those of the text.
        background: target of the last term.

    Returns:
        The four unweighted losses, by name.
    """
    absent, nothing = 1 - labels, torch.zeros_like(labels)
    not_background, not_object = (nothing, absent) if as_printed else (absent, nothing)
    return {
        "classify": soft_margin(f_fg(z_fg), labels),
        "object_as_background": soft_margin(f_bg(z_fg), not_background),
        "background_as_object": soft_margin(f_fg(z_bg), not_object),
        "background": soft_margin(f_bg(z_bg), torch.full_like(labels, background)),
    }


def background_swap_loss(f_swap: Scores, z_fg: Tensor, z_bg: Tensor, labels: Tensor, perm: Tensor) -> Tensor:
    """First term of Eq. 6: an object on the background of another image keeps its labels.

    Args:
        f_swap: classifier of pairs.
        z_fg: object vectors, (N, C).
        z_bg: background vectors, (N, C); they receive no gradient.
        labels: y, float multi-hot, (N, K).
        perm: index of the image whose background each object gets, int64 (N,).
    """
    return soft_margin(f_swap(swap_background(z_fg, z_bg, perm)), labels)


def object_swap_loss(f_swap: Scores, z_fg: Tensor, z_bg: Tensor, labels: Tensor, perm: Tensor) -> Tensor:
    """Second term of Eq. 6: a background with the object of another image gets the labels of that object.

    Arguments as for :func:`background_swap_loss`; ``perm`` is the index of the image whose object each background gets.
    """
    return soft_margin(f_swap(swap_object(z_fg, z_bg, perm)), labels[perm])


@dataclass(frozen=True)
class DeftHead:
    """Settings of the DEFT head."""

    maps: Annotated[int, Range(1, 65_536)] = 256
    """M, the number of attention maps per aggregator, which are averaged before pooling. The paper gives no value; this
    is the released code's. With fewer, the average depends more on random initialisation, and seeds vary more."""
    temperature: Factor = 1.0
    """Divisor of the attention logits before the softmax over the grid; larger values give broader attention. The paper
    has none (1)."""
    init_scale: Weight = 1.0
    """Factor of the initial attention weights. 0 starts as average pooling, but all M maps then train
    identically and collapse into one."""
    uniform: Share = 0.0
    """Share of plain average pooling blended into the object attention, in [0, 1]. The paper has none (0)."""
    object_weight: Weight = 1.0
    """Weight of f_fg(z_fg) -> y, the classification term."""
    object_as_background: Weight = 0.3
    """Weight of f_bg(z_fg) -> 1 - y (the paper's 0.3, as for the next two)."""
    background_as_object: Weight = 0.3
    """Weight of f_fg(z_bg) -> 0."""
    background_weight: Weight = 0.3
    """Weight of f_bg(z_bg) -> 1."""
    eq3_literal: bool = False
    """Use Eq. 3 as printed: f_bg(z_fg) -> 0 and f_fg(z_bg) -> 1 - y. The paper's text states and justifies the reverse;
    as printed, the background would be trained to show every absent class."""
    background_target: Share = 1.0
    """Target of f_bg(z_bg): 1 in text and equation; the follow-up's released code has 0."""
    swap_background_weight: Weight = 1.0
    """Weight of f_swap([z_fg, swapped z_bg]) -> y; the paper has none (1)."""
    swap_object_weight: Weight = 1.0
    """Weight of f_swap([swapped z_fg, z_bg]) -> swapped y; the paper has none (1)."""
    swap_head: SwapForm = field(default_factory=LinearSwap, metadata=one_of(SWAP_FORMS))
    """f_swap (:mod:`deft.classify.swap_forms`): linear as in the paper, shared with f_fg as released, or an MLP."""
    swap_epoch: Annotated[int, Range(0, 100_000)] = 6
    """t_aug, 1-based: swapping starts with this epoch. The paper says iteration, but sets 6 of 10 epochs."""
    warm_start: bool = True
    """Train f_swap on unswapped pairs before ``swap_epoch``. Without it, an untrained f_swap sends a large loss into
    the features in the middle of training and destroys the classifier. The paper does not mention this."""
    warm_start_features: bool = True
    """Whether the unswapped pairs train the features as well as f_swap."""
    two_permutations: bool = False
    """Draw one permutation per swap; the released code uses the same for both."""
    map: Reading = field(
        default_factory=Eq7, metadata=one_of(READINGS, power=3.0) | read_only(map="eq7", map_power=3.0)
    )
    """The class map (:mod:`deft.classify.readings`): a reading of Eq. 7, or the map of f_fg, as released. It changes
    nothing in training."""
    attention_rate: Weight = 0.1
    """Multiplier of the base learning rate for M_fg and M_bg. Between 0.01 and 1 it makes no difference to the
    maps (``benchmarks/choices.md``); new layers usually have 10."""
    classifier_rate: Weight = 10.0
    """Multiplier for f_fg and f_bg, as for any new layer in IRN."""
    swap_rate: Weight = 1.0
    """Multiplier for f_swap."""

    def __post_init__(self) -> None:
        """Refuse anything but a form of f_swap and a reading."""
        if not (isinstance(self.swap_head, SwapForm) and isinstance(self.map, Reading)):
            raise InputError(
                "expected classifier.head.swap_head as a form of deft.classify.swap_forms, such as LinearSwap(), and "
                "classifier.head.map as a reading of deft.classify.readings, such as Eq7(), or of your own; got "
                f"{self.swap_head!r} and {self.map!r}"
            )
        check_ranges(self)

    @property
    def swaps(self) -> bool:
        """Whether anything is swapped."""
        return self.swap_background_weight > 0 or self.swap_object_weight > 0

    def build(self, channels: int, classes: int) -> DeftModule:
        """A head for features of ``channels`` channels and ``classes`` classes without background."""
        return DeftModule(self, channels, classes)


class DeftModule(HeadModule):
    """Weights of :class:`DeftHead`."""

    def __init__(self, settings: DeftHead, channels: int, classes: int) -> None:
        super().__init__()
        s = self.settings = settings
        self.m_fg = Aggregator(channels, s.maps, s.temperature, s.init_scale, s.uniform)
        self.m_bg = Aggregator(channels, s.maps, s.temperature, s.init_scale, 0.0)
        self.f_fg = nn.Linear(channels, classes)
        self.f_bg = nn.Linear(channels, classes)
        self.f_swap = s.swap_head.build(channels, classes)

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
        """The weighted terms of Eq. 3, from vectors (N, C) and labels (N, K)."""
        s = self.settings
        losses = disentangling_losses(
            self.f_fg, self.f_bg, z_fg, z_bg, labels, as_printed=s.eq3_literal, background=s.background_target
        )
        weights = {
            "classify": s.object_weight,
            "object_as_background": s.object_as_background,
            "background_as_object": s.background_as_object,
            "background": s.background_weight,
        }
        return {name: weights[name] * loss for name, loss in losses.items()}

    def swap(self, z_fg: Tensor, z_bg: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms of Eq. 6, or before ``swap_epoch`` the loss of the unswapped pairs.

        Vectors are swapped within the global batch. It is small, so each of several processes computes the whole loss,
        with the same permutations from ``rng``.
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
            loss = background_swap_loss(self.swap_logits, z_fg, z_bg, labels, perm)
            terms["swap_background"] = s.swap_background_weight * loss
        if s.swap_object_weight:
            loss = object_swap_loss(self.swap_logits, z_fg, z_bg, labels, other)
            terms["swap_object"] = s.swap_object_weight * loss
        return terms

    def swap_logits(self, pair: Tensor) -> Tensor:
        """Eq. 5: scores (N, K) of f_swap for pairs ``[object, background]`` (N, 2C)."""
        return self.settings.swap_head.logits(self.f_swap, self.f_fg, pair)

    def logits(self, features: Tensor) -> Tensor:
        """Image scores f_fg(z_fg) before the sigmoid, (N, K)."""
        scores: Tensor = self.f_fg(self.m_fg(features))
        return scores

    def cell_scores(self, features: Tensor) -> Tensor:
        """``w_fg z``, without the bias, (N, K, h, w)."""
        return _on_cells([self.f_fg], features, bias=False)

    def activation(self, features: Tensor) -> Tensor:
        """The maps that the reading of Eq. 7 sums over scales, (N, B, K, h, w), non-negative."""
        reading = self.settings.map
        fg, bg = _on_cells([self.f_fg, self.f_bg], features, bias=getattr(reading, "bias", False)).chunk(2, dim=1)
        return reading.activation(fg, bg)

    def combine(self, activation: Tensor) -> Tensor:
        """Eq. 7: the class maps of one image, (K, h, w) in [0, 1], from the summed activation (B, K, h, w)."""
        return self.settings.map.combine(activation)

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
        """Norm of f_swap's weights on the background divided by that on the object (>= 0): reliance on the scene."""
        on_object, on_background = next(self.f_swap.parameters()).chunk(2, dim=1)
        return float(torch.linalg.vector_norm(on_background) / torch.linalg.vector_norm(on_object))


class Aggregator(nn.Module):
    """M_fg or M_bg: M attention maps from a 1x1 convolution with bias and a softmax over the grid."""

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
        """Mean of the M maps, (N, h * w), from their scores (N, M, h * w)."""
        attention: Tensor = (scores / self.temperature).softmax(dim=2).mean(dim=1)
        return (1 - self.uniform) * attention + self.uniform / attention.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        """Pool features (N, C, h, w) to (N, C)."""
        return aggregate(features, [self])[0]


def aggregate(features: Tensor, aggregators: Sequence[Aggregator]) -> Sequence[Tensor]:
    """:func:`pooled_vector` for several aggregators on the same features (N, C, h, w): vectors (N, C).

    Averaging the maps first gives the mean of the M pooled vectors without computing each. The scores of all
    aggregators are one product and their vectors another, because features and their gradients are large and each pass
    over them takes time.
    """
    weight = torch.cat([one.scores.weight for one in aggregators])
    bias = torch.cat([one.scores.bias for one in aggregators if one.scores.bias is not None])
    scores = F.conv2d(features, weight, bias).flatten(2).chunk(len(aggregators), dim=1)
    attention = torch.stack([one.average(part) for one, part in zip(aggregators, scores, strict=True)], dim=1)
    return torch.matmul(attention, features.flatten(2).transpose(1, 2)).unbind(dim=1)


def _on_cells(classifiers: Sequence[nn.Linear], features: Tensor, bias: bool) -> Tensor:
    """Scores of linear classifiers in every cell of (N, C, h, w), as one convolution: (N, sum of K, h, w)."""
    weight = torch.cat([one.weight for one in classifiers])[:, :, None, None]
    return F.conv2d(features, weight, torch.cat([one.bias for one in classifiers]) if bias else None)
