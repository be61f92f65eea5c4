"""How many cores there are to compute with, and how many of them nobody else uses."""

from __future__ import annotations

import os
import time
from pathlib import Path

from deft.engine.cgroup import processor_quota

LOOK = 0.5
"""Seconds over which the use of cores is measured; Linux counts it in hundredths of a second."""
_STAT = Path("/proc/stat")


def cores() -> int:
    """Cores that this process may use, at least 1: a scheduler or a container may leave it a part of the machine's.

    macOS and Windows do not tell of such a part, and all cores of the machine count.
    """
    quota = processor_quota()
    allowed = len(_allowed() or ()) or os.cpu_count() or 1
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def free_cores(seconds: float = LOOK) -> float:
    """How many of :func:`cores` other processes leave unused, from 0 to all of them.

    On Linux the use of the cores is measured; macOS tells the load of the last minute. Windows tells neither, and all
    cores count as free.

    Args:
        seconds: length of the measurement, during which this function sleeps.
    """
    most = cores()
    before, own, start = _idle(), time.process_time(), time.monotonic()
    if before is None:
        return max(0.0, most - _load())
    time.sleep(seconds)
    after = _idle()
    total = after[1] - before[1] if after is not None else 0
    if after is None or total <= 0:
        return float(most)
    self_used = (time.process_time() - own) / max(time.monotonic() - start, 1e-3)  # by other threads of this process
    free = after[2] * (after[0] - before[0]) / total + self_used
    return min(float(most), max(0.0, free))


def _allowed() -> set[int] | None:
    """Numbers of the cores that this process may use; None where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    try:
        return os.sched_getaffinity(0)
    except OSError:
        return None


def _idle() -> tuple[int, int, int] | None:
    """Idle time and all time of the cores that may be used since the machine began, in ticks, and their number."""
    try:
        lines = _STAT.read_text().splitlines()
    except OSError:
        return None
    allowed = _allowed()
    idle = total = count = 0
    for line in lines:
        name, *words = line.split()
        number = name.removeprefix("cpu")
        if name.startswith("cpu") and number.isdecimal() and (allowed is None or int(number) in allowed):
            ticks = [int(word) for word in words[:8]]  # the ninth and tenth, of guests, are part of the first two
            idle += sum(ticks[3:5])  # idle, and waiting for a disk
            total += sum(ticks)
            count += 1
    return (idle, total, count) if count else None


def _load() -> float:
    """Processes that computed at the same time, averaged over the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0
