"""Facts about the machine that a run depends on, as far as the system tells them."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from deft.engine.cgroup import memory_limit
from deft.engine.cores import cores
from deft.engine.infer import device
from deft.engine.precision import choose
from deft.engine.reading import reading_processes
from deft.engine.threads import AUTO, Choice, measured
from deft.engine.threads import choose as choose_threads
from deft.engine.workers import open_files, shared_bytes

_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Memory:
    """Main memory, in bytes."""

    total: int
    """What this process may use at most."""
    available: int | None
    """What is left of it now; None where the system does not tell (macOS)."""
    limited: bool = False
    """Whether a container, a batch job or ``ulimit`` leaves less than the machine has."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that a run would use."""

    name: str
    count: int
    """Number of GPUs of the machine."""
    total: int
    """Bytes of its memory."""
    free: int
    trouble: str = ""
    """Why it cannot be used; empty if it can."""


@dataclass(frozen=True)
class Machine:
    """What a machine offers."""

    system: str
    python: str
    torch: str
    """Version of torch."""
    build: str
    """What it was built for: ``CPU``, ``CUDA 12.8``, ``ROCm 6.4``."""
    cores: int
    free: float
    """Cores that no other process uses."""
    threads: Choice
    memory: Memory | None
    """None where the system does not tell."""
    gpu: Gpu | None
    precision: str
    """What ``auto`` resolves to."""
    readers: int
    """Loader processes that a training starts by default."""
    shared: int | None
    """Free bytes of shared memory; None where it has no place of its own."""
    files: int | None
    """Files that may be open at a time; None if they are not limited."""


def look() -> Machine:
    """Look at this machine; takes about a second, in which the use of its cores is measured."""
    return Machine(
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        build=_build(),
        cores=cores(),
        free=measured()[0],
        threads=choose_threads(AUTO),
        memory=memory(),
        gpu=_gpu(),
        precision=choose(device()),
        readers=reading_processes(None),
        shared=shared_bytes(),
        files=open_files(),
    )


def memory() -> Memory | None:
    """Main memory within all limits that this process has; None where nothing is known."""
    found = _of_linux() or _of_windows() or _of_unix()
    if found is None:
        return None
    group = memory_limit()
    if group is not None and group.limit < found.total:
        left = group.limit - group.used
        found = Memory(group.limit, left if found.available is None else min(left, found.available), True)
    own = _of_process()
    if own is not None and own < found.total:
        found = Memory(own, own if found.available is None else min(own, found.available), True)
    return found


def _build() -> str:
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    hip = getattr(torch.version, "hip", None)
    return f"ROCm {hip}" if hip else "CPU"


def _gpu() -> Gpu | None:
    if not torch.cuda.is_available():
        return None
    count = torch.cuda.device_count()
    name = torch.cuda.get_device_name()
    try:
        free, total = torch.cuda.mem_get_info()
    except RuntimeError as error:  # another process has it for itself, or the driver is broken
        return Gpu(name, count, 0, 0, str(error).splitlines()[0])
    return Gpu(name, count, total, free)


def _of_linux() -> Memory | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    parts = dict(line.split(":", 1) for line in lines if ":" in line)
    kilobytes = {name: int(text.split()[0]) for name, text in parts.items() if text.split()[:1] and "kB" in text}
    if "MemTotal" not in kilobytes:
        return None
    available = kilobytes.get("MemAvailable")
    return Memory(1024 * kilobytes["MemTotal"], None if available is None else 1024 * available)


def _of_windows() -> Memory | None:
    if sys.platform != "win32":
        return None
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "available", "a", "b", "c", "d", "e")),
        ]

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return Memory(int(status.total), int(status.available))


def _of_unix() -> Memory | None:
    with suppress(AttributeError, OSError, ValueError):
        return Memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None)
    return None


def _of_process() -> int | None:
    """The smallest limit that ``ulimit`` sets on the memory of this process, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limits = [resource.getrlimit(getattr(resource, name))[0] for name in ("RLIMIT_AS", "RLIMIT_DATA")]
    return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=None)
