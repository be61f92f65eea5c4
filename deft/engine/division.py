"""Into how many parts a training divides its batches, chosen before the first step from the memory that is free."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from deft.engine import ranks
from deft.engine.batch_norm import trains_statistics
from deft.engine.budget import Budget, GigaBytes, budget
from deft.engine.footprint import Footprint, footprint, parts_for, peak_of
from deft.engine.shortage import out_of_memory, reason_of, release

_KEPT = 3
"""Copies of the trained weights that come with the first steps: two moments, and a checkpoint while it is written."""


def choose_parts(
    trainee: Any,
    batch: dict[str, Tensor],
    *,
    epoch: int,
    asked: GigaBytes,
    ahead: int,
    precision: Callable[[], AbstractContextManager[Any]],
    title: str,
) -> int:
    """Number of parts of a batch with which a training fits into memory; rank 0 says why.

    The steps that are measured are those of a copy with one to three images, so that weights, statistics of batch norms
    and random numbers stay as they are. All processes of a run get the same number.

    Args:
        trainee: a :class:`deft.engine.plan.Trainee`, on its device.
        batch: the first batch of this process, on the same device.
        epoch: the last one, in which every loss term is in use.
        asked: most memory in GB, or ``auto``.
        ahead: number of batches that are read ahead.
        precision: context of the forward pass.
        title: of the training.
    """
    images = len(batch["index"])
    room = budget(asked, batch["index"].device)
    if ranks.highest(int(room is None)) or room is None:
        return 1
    kept = _KEPT * sum(_bytes(weight) for weight in trainee.parameters() if weight.requires_grad)
    free = -ranks.highest(-(room.free - kept - ahead * sum(map(_bytes, batch.values()))))
    try:
        found: Footprint | None = _measured(trainee, batch, epoch, precision, free)
    except Exception as error:
        if ranks.world() > 1:  # the others wait for this process
            raise
        reason, lacks = reason_of(error), out_of_memory(error)
        found = None
    release()
    if found is not None:
        at_once = found.at_once(images, free)
        if ranks.first():
            tqdm.write(f"{title}: {_told(found, images, at_once, room, trains_statistics(trainee))}", sys.stderr)
        return parts_for(images, at_once)
    if lacks:  # the training tries the same, and tells
        return images
    tqdm.write(f"{title}: the memory of a step could not be measured ({reason})", sys.stderr)
    return 1


def _measured(
    trainee: Any,
    batch: dict[str, Tensor],
    epoch: int,
    precision: Callable[[], AbstractContextManager[Any]],
    free: int,
) -> Footprint:
    """The footprint of a step, as far as it is needed; the same on all processes."""
    device = batch["index"].device
    rehearsing = copy.deepcopy(trainee)

    def peak(images: int, parts: int) -> int:
        few = {name: values[:images] for name, values in batch.items()}
        rehearsing.parts = parts

        def step() -> None:
            torch.manual_seed(0)
            with precision():
                terms = rehearsing.terms(few, epoch, torch.Generator().manual_seed(0))
            loss: Any = torch.stack([term.float() for term in terms.values()]).sum()
            loss.backward()

        found = ranks.highest(peak_of(step))
        rehearsing.zero_grad(set_to_none=True)
        return found

    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        found = footprint(peak, len(batch["index"]), lambda need: need <= free)
    return found


def _told(found: Footprint, images: int, at_once: int, room: Budget, statistics: bool) -> str:
    """The number and why, in a line."""
    memory = f"{room.free / 1e9:.1f} GB {room.why}"
    if at_once >= images:
        return f"batches of {images} in one part; a step needs about {found.need(images, images) / 1e9:.1f} of {memory}"
    if at_once == 0:
        return (
            f"one image at a time, which needs about {found.need(images, 1) / 1e9:.1f} GB, with {memory}; if the "
            "process is ended for lack of memory, take a smaller --max-side, smaller crops or another backbone"
        )
    size = -(-images // parts_for(images, at_once))
    line = (
        f"{size} of {images} images at a time, and the same batch of {images} for each step: all at once would need "
        f"about {found.need(images, images) / 1e9:.1f} GB, {size} about {found.need(images, size) / 1e9:.1f}, with "
        f"{memory}"
    )
    if statistics:
        line += "; " + STATISTICS
    return line


STATISTICS = "batch norms that are trained see these images only, which changes results"
"""What is said of a divided batch where it holds."""


def _bytes(values: Tensor) -> int:
    return values.numel() * values.element_size()
