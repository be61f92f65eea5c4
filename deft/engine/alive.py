"""Whether the worker that claimed something on shared storage is still alive.

On the same machine the operating system knows at once (not on Windows). For other machines only the time stamp of the
claim tells, which a live worker keeps updating; it is compared with the clock of the file server, because clocks of
machines differ.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

STALE = 60.0
"""Seconds without an update after which a claim's worker is considered dead."""


def owner() -> dict[str, Any]:
    """Identity of this process, by which processes on this and other machines can recognise it."""
    return {"machine": _machine(), "process": os.getpid(), "born": _born(os.getpid())}


def abandoned(claim: Path) -> bool:
    """Whether the worker that wrote a claim is dead, or has not updated it for too long.

    Args:
        claim: a file that holds an :func:`owner` in JSON.
    """
    try:
        now = _server_time(claim.parent)  # before the claim's own time: a pause between the two makes it younger
        with claim.open() as file:  # a file that was opened just now shows no old times, on NFS either
            text, touched = file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return False  # released, as the next look will show
    if now - touched > STALE:
        return True
    try:
        worker = json.loads(text)
    except ValueError:
        return False  # being written
    if worker["machine"] != _machine():
        return False
    born = _born(worker["process"])
    return born is None or born not in ("", worker["born"])


def _server_time(folder: Path) -> float:
    """Time on the clock of the machine that stores the folder."""
    handle, name = tempfile.mkstemp(prefix=".part-", dir=folder)
    try:
        return os.fstat(handle).st_mtime
    finally:
        os.close(handle)
        Path(name).unlink(missing_ok=True)


def _machine() -> str:
    """Scope in which process numbers are unique: host, its boot, and the container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _born(process: int) -> str | None:
    """When a process of this machine began, in its clock's ticks; "" where that is not told, None where it is dead."""
    if sys.platform == "win32":
        return ""  # signal 0 asks nothing there: it is Ctrl-C, and would be sent
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # alive, of another user
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if state in ("Z", "X") else fields[18]
