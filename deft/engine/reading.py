"""Batches as a function of (seed, step): which images, in which order, augmented in which way."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from deft.engine import ranks, stop
from deft.engine.cores import cores
from deft.engine.plan import Plan
from deft.engine.workers import bearable


class Examples(Protocol):
    """The examples of a training stage."""

    def __len__(self) -> int: ...

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """One training example, a pure function of (index, rng)."""

    def name(self, index: int) -> str:
        """Name of the image, for messages."""


def reader(examples: Examples, plan: Plan, seed: int, steps: range) -> DataLoader[dict[str, Tensor]]:
    """Batches for these steps; of several processes, each reads its own part of every batch."""
    batches = Batches(len(examples), plan.batch, seed, steps, ranks.rank(), ranks.world())
    workers = _bearable(examples, plan, len(batches))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")  # more processes than there are cores
        return DataLoader(
            _Reader(examples, seed),
            batch_sampler=batches,
            num_workers=workers,
            # A forked loader needs no copy of the dataset; one defined in a user's file could not be imported again.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            pin_memory=torch.cuda.is_available(),
        )


@contextmanager
def batches_of(loader: DataLoader[dict[str, Tensor]]) -> Iterator[Iterator[dict[str, Tensor]]]:
    """Start the reading processes of a loader, and end them when the block is left, by an error too.

    torch ends them once nothing refers to the iterator, which the traceback of an error may do for long.
    """
    batches = None
    try:
        with stop.interrupts_held():
            batches = iter(loader)
        yield batches
    finally:
        end = getattr(batches, "_shutdown_workers", None)  # only where there are processes
        if end is not None:
            end()


def reading_processes(workers: int | None) -> int:
    """Number of loader processes: what was asked for, else what the machine can spare.

    Beside a GPU two, and on a CPU as many of two as it has cores beyond two: on two cores, two readers beside two
    computing threads halve the speed of a small network.
    """
    if workers is not None:
        return workers
    return min(2, cores()) if torch.cuda.is_available() else max(0, min(2, cores() - 2))


def _bearable(examples: Examples, plan: Plan, steps: int) -> int:
    """Number of loader processes that the machine can bear; if it is not the number wanted, rank 0 says why."""

    def batch() -> tuple[int, int]:
        example = examples.example(0, np.random.default_rng(0))
        size = sum(value.numel() * value.element_size() for value in example.values())
        return size * -(-plan.batch // ranks.world()), len(example) + 1  # and the index

    wanted = reading_processes(plan.workers) if steps else 0
    number, reason = bearable(wanted, batch)
    if reason and ranks.first():
        print(f"{number} loader processes instead of {wanted}: {reason}", file=sys.stderr)
    return number


class _Reader(Dataset[dict[str, Tensor]]):
    """Reads example ``code % n`` in pass ``code // n``: all randomness follows from the code."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self.examples, self.seed = examples, seed

    def __getitem__(self, code: int) -> dict[str, Tensor]:
        index, around = code % len(self.examples), code // len(self.examples)
        example = self.examples.example(index, np.random.default_rng([self.seed, around, index]))
        return {**example, "index": torch.tensor(index)}


class Batches(Sampler[list[int]]):
    """Batches of indices for the remaining steps; a rank takes its share of each global batch."""

    def __init__(self, images: int, batch: int, seed: int, steps: range, rank: int = 0, world: int = 1) -> None:
        self.images, self.batch, self.seed, self.steps, self.rank, self.world = images, batch, seed, steps, rank, world

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        order, known = np.empty(0, dtype=np.int64), -1
        for step in self.steps:
            codes = []
            for position in range(step * self.batch, (step + 1) * self.batch):
                around = position // self.images
                if around != known:
                    order = np.random.default_rng([self.seed, 1_000_003, around]).permutation(self.images)
                    known = around
                codes.append(around * self.images + int(order[position % self.images]))
            yield codes[self.rank :: self.world]
