"""Training: its plan, what it needs of a network, its loss curves and its error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import torch
from torch import Tensor, nn

from deft.contracts import InputError
from deft.engine.optimise import Adam, AdamW, Optimiser, ParamGroup, Sgd
from deft.extend.members import check_optimiser
from deft.ranges import Range, Weight, check_ranges

CHECKPOINT_SECONDS = 20.0
"""Seconds between two checkpoints: how much work a kill may cost."""
LOG_STEPS = 10
"""Loss terms are averaged over this many steps."""

Watch = Callable[[int, nn.Module], None]
"""Called as ``watch(steps done, trainee)`` before the first step and after every one; it must not train."""

History = dict[str, list[tuple[int, float]]]
"""Loss curves: term -> [(step, mean since the last entry)]."""


class TrainingError(InputError):
    """Training cannot go on: the message says at which step and what to change."""


class Trainee(Protocol):
    """An ``nn.Module`` that can be trained."""

    parts: int
    """Number of parts a batch is computed in (:mod:`deft.engine.parts`); 1 unless memory is short."""

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Weighted loss terms by name; their sum is the loss. ``epoch`` is 1-based.

        With several processes, each has its own part of the batch. Gradients are averaged over them, so terms are means
        over images, or sums divided by :func:`deft.engine.ranks.mean_over_ranks` of a count.
        """

    def groups(self) -> list[ParamGroup]:
        """The parameters that are trained, with their multiples of the base learning rate."""


@dataclass(frozen=True)
class Plan:
    """How long and how to train."""

    epochs: Annotated[int, Range(1, 100_000)]
    """Passes over the data; on a small dataset an epoch is as many passes as ``min_steps`` needs."""
    min_steps: Annotated[int, Range(0, 100_000_000)]
    """Minimum number of steps, so that a few hundred photographs train for long enough."""
    batch: Annotated[int, Range(1, 65_536)]
    """Images per step, over all devices."""
    optimiser: Sgd | AdamW | Adam | Optimiser = field(default_factory=Sgd)
    clip: Weight = 1.0
    """Maximum norm of the gradient; without clipping, plain CAM collapsed on one of two sets of photographs."""
    workers: Annotated[int, Range(0, 1024)] | None = None
    """Loader processes that read and augment; 0 loads in the training process, None takes two if there are cores."""

    def __post_init__(self) -> None:
        """Refuse a plan that trains nothing."""
        check_optimiser(self.optimiser)
        check_ranges(self)

    def steps(self, images: int) -> int:
        """Steps for a dataset of that many images."""
        return max(self.epochs * math.ceil(images / self.batch), self.min_steps)

    def epoch(self, step: int, images: int) -> int:
        """1-based epoch of a 0-based step."""
        return 1 + step * self.epochs // self.steps(images)


def curves(stored: dict[str, list[list[float]]]) -> History:
    """Loss curves as JSON keeps them."""
    return {name: [(int(step), float(value)) for step, value in curve] for name, curve in stored.items()}
