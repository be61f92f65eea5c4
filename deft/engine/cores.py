"""How many cores there are to compute with."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use, at least 1: a scheduler or a container may leave it a part of the machine's.

    macOS and Windows do not tell of such a part, and all cores of the machine count.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
