"""Training: one loop for the classifier, IRN's network and the segmentation network.

Batches, augmentation, permutations and rates are functions of (seed, step) and not of hidden generator state, so that
a stopped run goes on from its checkpoint as if it had not been stopped. Devices, precision and processes are
Lightning's (:mod:`deft.engine.loop`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from deft.artifacts import read_json, write_json
from deft.contracts import InputError
from deft.engine import ranks
from deft.engine.layout import channels_last
from deft.engine.optimise import Adam, AdamW, ParamGroup, Sgd
from deft.engine.reading import Examples

CHECKPOINT_SECONDS = 20.0
"""How much work a kill may cost."""
LOG_STEPS = 10
"""Loss terms are averaged over this many steps."""

Watch = Callable[[int, nn.Module], None]
"""Called as ``watch(steps done, trainee)`` before the first step and after every one; it must not train."""

History = dict[str, list[tuple[int, float]]]
"""Loss curves: term -> [(step, mean since the last entry)]."""


class TrainingError(InputError):
    """Training cannot go on: the message says at which step and what to change."""


class Trainee(Protocol):
    """What can be trained; an ``nn.Module``."""

    parts: int
    """Parts that a batch is computed in, see :mod:`deft.engine.parts`; 1 unless memory is short."""

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Weighted loss terms by name; their sum is the loss. ``epoch`` is 1-based.

        Of several processes each has its own part of the batch. Their gradients are averaged, so that terms are means
        over images, or sums divided by :func:`deft.engine.ranks.mean_over_ranks` of a count.
        """

    def groups(self) -> list[ParamGroup]:
        """What is trained, at which multiple of the base rate."""


@dataclass(frozen=True)
class Plan:
    """How long and how to train."""

    epochs: int
    """Passes over the data; for small data an epoch is as many passes as ``min_steps`` needs."""
    min_steps: int
    """At least this many steps, so that a few hundred photographs train for long enough."""
    batch: int
    """Images in a step, over all devices."""
    optimiser: Sgd | AdamW | Adam = field(default_factory=Sgd)
    clip: float = 1.0
    """Greatest norm of the gradient; without it plain CAM was seen to collapse on one of two photograph sets."""
    workers: int | None = None
    """Processes that read and augment; 0 reads in the training process, None takes two where there are cores for it."""

    def __post_init__(self) -> None:
        """Refuse a plan that trains nothing."""
        if self.epochs < 1 or self.min_steps < 0 or self.batch < 1 or self.clip < 0 or (self.workers or 0) < 0:
            raise InputError(
                "expected plan.epochs and plan.batch of at least 1, plan.min_steps, plan.clip and plan.workers of at "
                f"least 0, got {self.epochs}, {self.batch}, {self.min_steps}, {self.clip} and {self.workers}"
            )

    def steps(self, images: int) -> int:
        """Steps for a data set of that many images."""
        return max(self.epochs * math.ceil(images / self.batch), self.min_steps)

    def epoch(self, step: int, images: int) -> int:
        """1-based epoch of a 0-based step."""
        return 1 + step * self.epochs // self.steps(images)


def fit(
    trainee: nn.Module,
    examples: Examples,
    plan: Plan,
    *,
    folder: Path,
    seed: int = 0,
    precision: str = "32-true",
    title: str = "training",
    watch: Watch | None = None,
) -> History:
    """Train in place, or go on from the checkpoint in ``folder``.

    Where several processes work together (:mod:`deft.engine.ranks`) all of them call this, and each ends with the
    trained weights; the first one writes.

    Args:
        trainee: an ``nn.Module`` that is a :class:`Trainee`; trained in place and left on the CPU in eval mode.
        examples: what to read.
        plan: how long and how.
        folder: of the stage; holds ``checkpoint.safetensors`` while training, ``history.json`` after.
        seed: of batches, augmentation and permutations.
        precision: Lightning's word: "32-true", "bf16-mixed", ...
        title: beside the progress bar.
        watch: looks at the network while it learns; after a kill the steps since the checkpoint are seen again.

    Returns:
        The loss curves.

    Raises:
        TrainingError: the loss is not finite, which names the images of the batch, or one image needs more memory
            than there is.
        InputError: the processes cannot share a batch evenly.
    """
    if plan.batch % ranks.world():
        raise InputError(
            f"{title}: expected a batch that {ranks.world()} processes can share evenly, got {plan.batch} images; set "
            "the plan's batch to a multiple, or use fewer --devices"
        )
    from deft.engine.loop import PARTS, Loop, train

    checkpoint = folder / "checkpoint.safetensors"
    if ranks.first():
        for left in folder.glob(".part-*"):  # a checkpoint that a kill cut short
            left.unlink()
    channels_last(trainee)
    loop = Loop(cast(Any, trainee), plan, examples, seed, checkpoint, title, watch)
    if ranks.agreed(checkpoint.exists()):
        loop.load()
    loop.remember_parts()
    if loop.start < loop.steps:
        train(loop, precision)
    trainee.to("cpu").eval()
    if ranks.first():
        (folder / PARTS).unlink(missing_ok=True)
        write_json(folder / "history.json", loop.history)
    history: History = loop.history
    return history


def finish(folder: Path) -> None:
    """Remove the checkpoint of a training whose result is stored."""
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)


def read_history(folder: Path) -> History:
    """Loss curves of a finished training; empty when there was none."""
    path = folder / "history.json"
    return curves(read_json(path)) if path.exists() else {}


def curves(stored: dict[str, list[list[float]]]) -> History:
    """Loss curves as JSON keeps them."""
    return {name: [(int(step), float(value)) for step, value in curve] for name, curve in stored.items()}
