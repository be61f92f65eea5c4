"""Memory of a CPU: what tensors free is kept for the next ones instead of being given back to the system.

A step of training asks for the same hundreds of megabytes again and again. glibc gives each large block back when it is
freed, and the system then clears every page of the next one before its first use: measured, that was half of a step of
MobileNetV2 on two cores. The price is that the process keeps its largest size until it ends.
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Of ``malloc.h``."""
_KEPT = 2**31 - 1
"""Bytes that may lie free before some are given back."""
_USUAL = 128 * 1024, 65536
"""What glibc begins with."""


def keep_freed(keep: bool = True) -> bool:
    """Keep freed memory from now on, or do as the C library usually does; says whether there was something to change.

    It does nothing where the C library is not glibc (macOS, Windows, musl), and a GPU's memory is torch's business.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim, blocks = (_KEPT, 0) if keep else _USUAL
    return bool(mallopt(_TRIM_THRESHOLD, trim) and mallopt(_MMAP_MAX, blocks))
