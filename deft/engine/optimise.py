"""Optimiser presets, and learning rates that are a pure function of the step, so that a stopped run resumes exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol

import torch
from torch import nn

from deft.contracts import InputError
from deft.ranges import PartialShare, Range, Rate, Share, check_ranges
from deft.settings import later


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share a rate."""

    params: list[nn.Parameter]
    lr: float = 1.0
    """Multiplier of the optimiser's base rate."""
    decay: bool = True
    """Whether weight decay acts on them."""
    depths: tuple[int, ...] = ()
    """How many layers lie above each of them, for a decay of the rate by layers; none if they all are the last."""
    spared: tuple[bool, ...] = ()
    """Whether weight decay spares each of them where the rate decays by layers; none if it spares none."""


class Optimiser(Protocol):
    """Settings of an optimiser and of its schedule; a frozen dataclass."""

    @property
    def lr(self) -> float:
        """The base rate."""

    def build(self, groups: list[ParamGroup]) -> torch.optim.Optimizer:
        """The optimiser of these groups.

        What it remembers between steps has to be tensors in its state: these are what a checkpoint holds.
        """

    def factor(self, step: int, steps: int) -> float:
        """Share of the base rate at 0-based ``step`` of ``steps``; a function of nothing else."""


def built(optimiser: Optimiser, groups: list[ParamGroup]) -> torch.optim.Optimizer:
    """The optimiser of a training, each of its groups with the ``scale`` of its rate.

    At each step a group's rate is the product of the base rate, its scale and the schedule's factor. Where the
    optimiser names no scale, it is the rate that the group was built with, as a multiple of the base rate.

    Raises:
        InputError: it builds something else than an optimiser.
    """
    found = optimiser.build(groups)
    if not isinstance(found, torch.optim.Optimizer):
        raise InputError(
            f"plan.optimiser: expected {type(optimiser).__name__}.build to return a torch.optim.Optimizer, "
            f"got {type(found).__name__}"
        )
    for group in found.param_groups:
        group.setdefault("scale", group["lr"] / optimiser.lr if optimiser.lr else 1.0)
    return found


def _groups(groups: list[ParamGroup], lr: float, decay: float) -> list[dict[str, object]]:
    return [
        {"params": params, "lr": lr * group.lr, "scale": group.lr, "weight_decay": decay if group.decay else 0.0}
        for group in groups
        if (params := [p for p in group.params if p.requires_grad])
    ]


def by_layers(groups: list[ParamGroup], factor: float) -> list[ParamGroup]:
    """Groups of one layer each, whose rate is multiplied by ``factor`` for each layer above; unchanged for 1.

    What weight decay spares is apart: decay by layers is for networks whose recipes have both.
    """
    if factor == 1:
        return groups
    found = []
    for group in groups:
        count = len(group.params)
        kinds = list(zip(group.depths or (0,) * count, group.spared or (False,) * count, strict=True))
        for depth, spared in sorted(set(kinds), key=lambda kind: (-kind[0], kind[1])):
            own = [one for one, kind in zip(group.params, kinds, strict=True) if kind == (depth, spared)]
            rate, decay = group.lr * factor**depth, group.decay and not spared
            found.append(replace(group, params=own, lr=rate, decay=decay, depths=(), spared=()))
    return found


@dataclass(frozen=True)
class Sgd:
    """SGD with polynomial decay, the optimiser of IRN and all its descendants.

    Their published code passes the weight decay into SGD's momentum slot, so its recipes at rate 0.1 ran with a
    momentum of about 0; the default here is what ran.
    """

    lr: Rate = 0.1
    momentum: PartialShare = 0.0
    decay: Rate = 1e-4
    power: Rate = 0.9

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

    def build(self, groups: list[ParamGroup]) -> torch.optim.Optimizer:
        """The torch optimiser of these parameter groups."""
        return torch.optim.SGD(_groups(groups, self.lr, self.decay), lr=self.lr, momentum=self.momentum)

    def factor(self, step: int, steps: int) -> float:
        """Share of the base rate at 0-based ``step`` of ``steps``, in [0, 1]."""
        return float((1 - step / steps) ** self.power)


@dataclass(frozen=True)
class AdamW:
    """The modern preset: AdamW with a linear warm-up and a half cosine."""

    lr: Rate = 3e-4
    decay: Rate = 0.05
    """Weight decay; with ``layer_decay``, biases, norms, tables of positions and tokens of the backbone have none."""
    warmup: Share = 0.05
    """Share of the steps over which the rate rises from 0."""
    layer_decay: Annotated[float, Range(0, 1, above=True)] = field(default=1.0, metadata=later())
    """Factor on the rate for each layer that lies above, at most 12 times, so that early layers of a pretrained network
    change less."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

    def build(self, groups: list[ParamGroup]) -> torch.optim.Optimizer:
        """The torch optimiser of these parameter groups."""
        return torch.optim.AdamW(_groups(by_layers(groups, self.layer_decay), self.lr, self.decay), lr=self.lr)

    def factor(self, step: int, steps: int) -> float:
        """Share of the base rate at 0-based ``step`` of ``steps``, in [0, 1]."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980) at a constant rate, its weight decay being part of the gradient."""

    lr: Rate = 1e-4
    decay: Rate = 1e-4
    power: Rate = 0.0
    """Exponent of a polynomial decay; 0 keeps the rate constant."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)

    def build(self, groups: list[ParamGroup]) -> torch.optim.Optimizer:
        """The torch optimiser of these parameter groups."""
        return torch.optim.Adam(_groups(groups, self.lr, self.decay), lr=self.lr)

    def factor(self, step: int, steps: int) -> float:
        """Share of the base rate at 0-based ``step`` of ``steps``, in [0, 1]."""
        return float((1 - step / steps) ** self.power)
