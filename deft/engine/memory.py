"""CPU memory: keep what tensors free for the next ones instead of returning it to the system.

A training step allocates the same hundreds of megabytes again and again. glibc returns each large block when it is
freed, and the system then clears every page of the next one before its first use: measured, that was half of a training
step of MobileNetV2 on two cores. The price is that the process keeps its peak size, so only the command line does this;
the library leaves the allocator of the program that calls it alone.

Each thread has a heap of its own, and what one keeps another cannot use: what a training has freed would lie idle while
threads decode photographs beside it. So before and after a training, and a loop over images, all of it is returned.
"""

from __future__ import annotations

import ctypes
import platform
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameter numbers from ``malloc.h``."""
_KEPT = 2**31 - 1
"""Bytes that may stay free before some are returned."""
_USUAL = 128 * 1024, 65536
"""glibc's defaults."""
_keeps = False
"""Whether freed memory is kept now."""


def keep_freed(keep: bool = True) -> bool:
    """Keep freed memory from now on, or restore the C library's defaults; returns whether anything could be changed.

    Does nothing where the C library is not glibc (macOS, Windows, musl). GPU memory is managed by torch.
    """
    global _keeps
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim, blocks = (_KEPT, 0) if keep else _USUAL
    changed = bool(mallopt(_TRIM_THRESHOLD, trim) and mallopt(_MMAP_MAX, blocks))
    _keeps = keep and changed
    return changed


def return_freed() -> None:
    """Return to the system what has been kept so far; does nothing unless :func:`keep_freed` is in force."""
    if _keeps:
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory() -> int | None:
    """Bytes of main memory that this process has held at most; None where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:  # getrusage counts what the parent held before exec
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
