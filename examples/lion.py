"""A custom optimiser in one file: Lion (Chen et al., 2023, arXiv:2302.06675), with warm-up and cosine decay.

    deft run examples/lion.py --data folder:PHOTOS --out runs/lion --set classifier.plan.optimiser.lr=1e-4

Each weight changes by the learning rate, in the direction given by the sign of a running mean of gradients. The paper
recommends a rate 3 to 10 times smaller than AdamW's, and a weight decay larger by the same factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from deft import Pipeline, recipes
from deft.engine.optimise import ParamGroup


@dataclass(frozen=True)
class Lion:
    """Settings; ``lr``, ``build`` and ``factor`` are all that an optimiser must have."""

    lr: float = 5e-5
    beta: float = 0.9
    """Weight of the running mean in the sign."""
    memory: float = 0.99
    """Decay of the running mean from step to step."""
    decay: float = 0.3
    warmup: float = 0.05
    """Share of the steps over which the rate rises."""

    def build(self, groups: list[ParamGroup]) -> torch.optim.Optimizer:
        """Called once per training; each group has its own multiple of the base rate, and may have no decay."""
        each = [{"params": g.params, "lr": self.lr * g.lr, "decay": self.decay if g.decay else 0.0} for g in groups]
        return SignDescent(each, {"lr": self.lr, "beta": self.beta, "memory": self.memory})

    def factor(self, step: int, steps: int) -> float:
        """Called before each step: the factor of the rate, a function of the step only."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


class SignDescent(torch.optim.Optimizer):
    """Lion's step. The running mean is a tensor in ``state``, so that checkpoints include it."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                direction = mean.lerp(weight.grad, 1 - group["beta"]).sign_()
                weight.mul_(1 - group["lr"] * group["decay"]).sub_(direction, alpha=group["lr"])
                mean.lerp_(weight.grad, 1 - group["memory"])
        return loss


def recipe() -> Pipeline:
    """IRN with a classifier trained by Lion.

    Paper: Chen et al., 2023, arXiv:2302.06675.
    """
    base = recipes.irn()
    plan = replace(base.own_classifier.plan, optimiser=Lion())
    return replace(base, classifier=replace(base.own_classifier, plan=plan))
