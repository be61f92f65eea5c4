"""The processes that work on one run together: the rank of this one, and what they exchange.

Every process runs the whole program and synchronises with the others where it calls these functions. A single process
is rank 0 of 1, and everything here then costs nothing. Processes are started by :mod:`deft.engine.launch`.

A global batch of N images is dealt out in turn: image i goes to rank i mod W, as its i // W-th image.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

BEAT = 60.0
"""Seconds between two signs of life of rank 0 while it works alone."""


def together() -> bool:
    """Whether this process has met others, :func:`deft.engine.launch.join`; some builds of torch cannot."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, 0 to :func:`world` - 1."""
    return dist.get_rank() if together() else 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if together() else 1


def first() -> bool:
    """Whether this process is rank 0, which writes whatever is written once."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process has called this."""
    agreed(True)


def agreed(flag: bool) -> bool:
    """The flag of rank 0, for decisions that all processes must take alike; waits for it."""
    if not together():
        return flag
    said = torch.tensor([float(flag)], device=_where())
    dist.all_reduce(said.mul_(float(first())))
    return bool(said.item())


def highest(number: int) -> int:
    """The largest of the processes' whole numbers, on every process."""
    if not together():
        return number
    said = torch.tensor(number, dtype=torch.int64, device=_where())
    dist.all_reduce(said, op=dist.ReduceOp.MAX)
    return int(said.item())


def of_first(numbers: Sequence[int]) -> list[int]:
    """The whole numbers of rank 0, on every process; those of the others are not looked at."""
    if not together():
        return list(numbers)
    count = torch.tensor([len(numbers)], dtype=torch.int64, device=_where())
    dist.broadcast(count, 0)
    sent = torch.empty(int(count.item()), dtype=torch.int64, device=_where())
    if first():
        sent.copy_(torch.tensor(list(numbers), dtype=torch.int64))
    dist.broadcast(sent, 0)
    return [int(number) for number in sent.tolist()]


@contextmanager
def first_alone() -> Iterator[bool]:
    """Within, rank 0 works alone, however long it takes; yields whether this process is rank 0.

    The others wait in front of the block's end. A wait for another process has an upper limit
    (:data:`deft.engine.launch.PATIENCE`), so rank 0 gives a sign of life every :data:`BEAT` seconds.
    """
    if not together():
        yield True
        return
    if not first():
        yield False
        while not agreed(True):
            pass
        return
    ended = threading.Event()
    gpu = torch.cuda.current_device() if dist.get_backend() == "nccl" else None

    def beat() -> None:
        if gpu is not None:
            torch.cuda.set_device(gpu)  # a new thread starts on the first GPU
        while not ended.wait(BEAT):
            agreed(False)

    beating = threading.Thread(target=beat, name="deft-beat", daemon=True)
    beating.start()
    try:
        yield True
    finally:
        ended.set()
        beating.join()
    agreed(True)  # not after an error: the others must not go on


def own(batch: Tensor) -> Tensor:
    """This process's images of a global batch (N, ...): (N / W, ...)."""
    return batch[rank() :: world()]


def gathered(part: Tensor) -> Tensor:
    """The global batch (N, ...) of which every process holds its ``own`` part (N / W, ...); differentiable.

    A loss of the global batch, computed by every process, gives the gradients that one process would compute, once
    they are averaged over the processes, as is done in training. So does a loss that is a mean over ``own`` images, of
    what was made of the global batch.

    Args:
        part: of the same shape on every process, N / W images.
    """
    if not together():
        return part
    whole: Tensor = _Gathered.apply(part)
    return whole


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean of each value over the processes, without gradient: the divisor of a process's own sum.

    Gradients are averaged over processes. Dividing by this mean instead of by the own count makes the average the
    gradient of (sum over the global batch) / (count over the global batch). Where the count may be zero,
    clamp the divisor to 1 / W, not 1: a single item in the whole batch has a mean of 1 / W.

    Returns:
        As ``values``, floating point where there are several processes.
    """
    if not together():
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world()


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(world())]
        dist.all_gather(parts, part.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return own(total)


def _where() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
