"""How many loader processes a machine can bear: each hands over its batches through shared memory and open files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_SHARED = Path("/dev/shm")
_AHEAD = 2
"""Batches that torch lets a loader process prepare."""
_ENOUGH_BYTES = 2**31
_ENOUGH_FILES = 1024
"""Above these the size of a batch is not asked for, which takes reading an image."""
_OPEN = 64
"""Open files of a process that trains, without loader processes."""
_EACH = 8
"""Open files of each loader process."""


def bearable(wanted: int, batch: Callable[[], tuple[int, int]]) -> tuple[int, str]:
    """The number of loader processes, and why there are fewer than wanted.

    Args:
        wanted: as set, or as many as there are cores for.
        batch: size of a batch in bytes, and its number of tensors; called only if something is scarce.

    Returns:
        At most ``wanted``; the reason is empty if it is ``wanted``.
    """
    if not wanted:
        return 0, ""
    shared, files = shared_bytes(), open_files()
    if (shared is None or shared >= _ENOUGH_BYTES) and (files is None or files >= _ENOUGH_FILES):
        return wanted, ""
    size, tensors = batch()
    for number in range(wanted, 0, -1):
        held = _AHEAD * number + 2  # one is used, and one is on its way
        need, handles = held * size, held * tensors + _EACH * number + _OPEN
        if shared is not None and need > shared:
            reason = (
                f"{_SHARED} has {shared / 1e6:,.0f} MB free, and {number} would need {need / 1e6:,.0f} MB; enlarge it "
                "(docker run --shm-size=2g) to load faster"
            )
        elif files is not None and handles > files:
            reason = (
                f"{files} files may be open, and {number} would need about {handles}; raise the limit (ulimit -n 1024) "
                "to load faster"
            )
        else:
            return number, "" if number == wanted else reason
    return 0, reason


def shared_bytes() -> int | None:
    """Free bytes of the shared memory that Linux keeps in a folder; 0 if it is missing there, None elsewhere."""
    if sys.platform != "linux":
        return None
    if not os.access(_SHARED, os.W_OK | os.X_OK):
        return 0
    with suppress(OSError):
        return shutil.disk_usage(_SHARED).free
    return 0


def open_files() -> int | None:
    """Files that this process may have open at a time; None where the system does not tell or does not limit them."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
