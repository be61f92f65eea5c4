"""Memory that a training may take, found where it begins.

The system does not always refuse memory: a kernel ends the process that has taken too much, without an exception that
could be caught. So what is left is looked up before the first step, and the batch divided to fit into it
(:mod:`deft.engine.footprint`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from deft.engine.launch import processes_of_this_machine
from deft.engine.machine import memory

AUTO: Literal["auto"] = "auto"
"""All memory that is free."""
GigaBytes = float | Literal["auto"]
"""Most memory of a process in units of 10^9 bytes, or :data:`AUTO`."""
LOADED = 900_000_000
"""Bytes of a process that has loaded its libraries, where the system does not tell."""
_SIZES = Path("/proc/self/statm")


@dataclass(frozen=True)
class Budget:
    """Memory that a training step may take."""

    free: int
    """Bytes; at least 0."""
    why: str
    """Where it comes from, in words that follow a size."""


def begun_with(asked: GigaBytes, recorded: object) -> GigaBytes:
    """The memory of a run: what was asked for, else what the run was begun with, if that is a number."""
    if asked == AUTO and isinstance(recorded, int | float) and not isinstance(recorded, bool) and recorded > 0:
        return float(recorded)
    return asked


def budget(asked: GigaBytes, device: torch.device) -> Budget | None:
    """Memory that this process may take now, beyond what it has; None if nothing is known about it.

    On a CPU it is the least of what the system has available and of the limits of containers, batch jobs and
    ``ulimit``; the processes of a run share a machine evenly. Systems that do not tell what is available (macOS) are
    taken to have all of their memory. On a GPU it is what is free on it.

    Args:
        asked: most that the process may take on the device that trains, including what it has taken; or ``auto``.
        device: on which it trains.
    """
    found = [*(_of_gpu(device) if device.type == "cuda" else _of_cpu())]
    if asked != AUTO:
        has = torch.cuda.memory_reserved(device) if device.type == "cuda" else resident()
        found.append(Budget(max(0, round(asked * 1e9) - has), f"left of --memory {asked:g}"))
    return min(found, key=lambda one: one.free, default=None)


def resident() -> int:
    """Bytes of main memory that this process holds; its peak so far where the system tells nothing else."""
    sizes = _sizes()
    if sizes:
        return sizes[1]
    try:
        import resource
    except ImportError:  # Windows
        return LOADED
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _of_gpu(device: torch.device) -> list[Budget]:
    try:
        free, _ = torch.cuda.mem_get_info(device)
    except RuntimeError:  # the driver does not tell
        return []
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return [Budget(free + kept, "free on the GPU")]


def _of_cpu() -> list[Budget]:
    found, there = [], memory()
    if there is not None and there.available is not None:
        why = "available within the limit" if there.limited else "available"
        found.append(Budget(max(0, there.available // processes_of_this_machine()), why))
    elif there is not None:
        found.append(Budget(max(0, there.total // processes_of_this_machine() - resident()), "in this machine"))
    found += [Budget(max(0, left), "left of ulimit") for left in _left_of_limits()]
    return found


def _left_of_limits() -> list[int]:
    """Bytes that ``ulimit`` leaves to this process, of its address space and of its data."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    sizes = _sizes()
    used = {"RLIMIT_AS": sizes[0], "RLIMIT_DATA": sizes[5]} if sizes else {}
    limits = {name: resource.getrlimit(getattr(resource, name))[0] for name in ("RLIMIT_AS", "RLIMIT_DATA")}
    return [limit - used.get(name, resident()) for name, limit in limits.items() if limit != resource.RLIM_INFINITY]


def _sizes() -> list[int]:
    """Linux's sizes of this process in bytes: address space, resident, shared, code, 0, data; empty elsewhere."""
    try:
        pages = [int(word) for word in _SIZES.read_text().split()]
    except (OSError, ValueError):
        return []
    import resource

    return [number * resource.getpagesize() for number in pages] if len(pages) >= 6 else []
