"""Timing, memory and the rows of the speed table."""

from __future__ import annotations

import gc
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deft.engine.memory import keep_freed


@dataclass(frozen=True)
class Row:
    """One comparison: two ways to one result, timed in one run on the same inputs."""

    what: str
    """The work, with its size."""
    beside: str
    """What ours is compared with."""
    theirs: float | None
    """Seconds, median; None where it could not be run, which ``note`` explains."""
    ours: float | None
    """Seconds, median; None where its inputs are missing, which ``note`` explains."""
    difference: str
    """Largest difference between the results, in the unit of the goal."""
    goal: str
    """What was asked for."""
    theirs_mb: float | None = None
    """Peak memory above what was there before, in MB."""
    ours_mb: float | None = None
    note: str = ""
    """What a reader must know: scaled from a part, limits of the machine, share of its bandwidth."""
    runs: int = 0
    """Measurements behind each median."""
    extra: dict[str, Any] = field(default_factory=dict)
    """More numbers, for the JSON alone."""

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is."""
        return None if self.theirs is None or self.ours is None else self.theirs / self.ours


def seconds(work: Callable[[], object], device: torch.device, runs: int = 5, warm: int = 1) -> float:
    """Median seconds of ``work``, after ``warm`` runs that do not count."""
    for _ in range(warm):
        work()
    return statistics.median(once(work, device) for _ in range(runs))


def compare(
    theirs: Callable[[], object],
    ours: Callable[[], object],
    device: torch.device,
    runs: int = 5,
    warm: int = 1,
    kept: bool = False,
) -> tuple[float, float]:
    """Median seconds of both, run in turn, so that whatever else the machine does meets both alike.

    Ours keeps freed memory, as the command does; theirs gives it back, as a process does by itself, unless both are
    ways of ours and it is ``kept`` too.
    """
    pairs = []
    for number in range(warm + runs):
        keep_freed(kept)
        first = once(theirs, device)
        keep_freed()
        pair = first, once(ours, device)
        if number >= warm:
            pairs.append(pair)
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def once(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_mb(work: Callable[[], object], device: torch.device) -> float:
    """Most memory that ``work`` held above what was held before it, in MB.

    On a GPU what torch allocated there; on a CPU the process's resident memory, looked at every millisecond.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    before = most = resident()
    stop = threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.is_set():
            most = max(most, resident())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        most = max(most, resident())
        stop.set()
        watcher.join()
    return (most - before) / 1e6


def resident() -> int:
    """Resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest absolute difference over the largest value of ``other``."""
    return float((one.double() - other.double()).abs().max() / other.double().abs().max().clamp(min=1e-30))


def show(rows: Iterable[Row]) -> None:
    """Print rows as a table in Markdown, each as soon as it is measured."""
    keep_freed()
    print(HEADER, flush=True)
    for row in rows:
        print(line(row), flush=True)


HEADER = "\n".join(
    (
        "| what | beside | published way, s | ours, s | times faster | goal | largest difference "
        "| MB, theirs / ours | note |",
        "|---|---|---:|---:|---:|---|---|---:|---|",
    )
)
"""Of every table of speed."""


def line(row: Row) -> str:
    """One line of a table in Markdown."""
    memory = " / ".join("–" if mb is None else f"{mb:,.0f}" for mb in (row.theirs_mb, row.ours_mb))
    cells = (
        row.what,
        row.beside,
        *("–" if time is None or math.isnan(time) else f"{time:.3g}" for time in (row.theirs, row.ours)),
        "–" if row.ratio is None else f"{row.ratio:,.2f}" if row.ratio < 10 else f"{row.ratio:,.0f}",
        row.goal,
        row.difference,
        "" if row.theirs_mb is None and row.ours_mb is None else memory,
        row.note,
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def copy_bandwidth(device: torch.device, megabytes: int = 1024) -> float:
    """Bytes a second that a copy within the device's memory reads and writes."""
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda: target.copy_(source), device, runs=10, warm=3)


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.bfloat16, side: int = 8192) -> float:
    """Multiplications and additions a second in a product of two square matrices."""
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: one @ other, device, runs=10, warm=3)
