"""Stores of tensors that are killed or that fail: the file must always be whole, the old one or the new."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

from faults import FORK, call

VALUES = 300_000
"""In a file: 1.2 MB, so that writing takes about as long as all else."""
KINDS = ("no room when it is flushed", "no room in the middle of the file")


def stores(folder: Path, kills: int, chance: random.Random) -> tuple[list[str], list[str]]:
    """Kill that many processes that store, let as many stores fail in each of two ways: the tables, and the faults."""
    if not kills:
        return [], []
    folder.mkdir(parents=True)
    path = folder / "tensors.safetensors"
    call(lambda: _store(path, 0))
    faults: list[str] = []
    cut, newest = 0, 0
    for _ in range(kills):
        number, parts = _killed(path, newest, chance), list(folder.glob(".part-*"))
        cut += bool(parts)
        for part in parts:
            part.unlink()
        if number is None or number < newest:
            faults.append(f"SIGKILL while storing: expected a whole file not older than {newest}, got {number}")
        newest = max(newest, number or 0)
    lines = ["## Stores", "", "| what | times | file whole |", "|---|---|---|"]
    lines.append(
        f"| SIGKILL of a process that stores without pause ({cut} in a write) | {kills} | {kills - len(faults)} |"
    )
    for kind in KINDS:
        kept = sum(_failed(path, kind, chance) for _ in range(kills))
        lines.append(f"| {kind} | {kills} | {kept} |")
        if kept < kills:
            faults.append(f"{kind}: the old file was kept {kept} times of {kills}")
    return [*lines, ""], faults


def _store(path: Path, number: int) -> None:
    import torch

    from deft.artifacts import save_tensors

    save_tensors(path, {"values": torch.full((VALUES,), float(number))}, {"number": number})


def _number(path: Path) -> int | None:
    """Which store a file is of; None where it is not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            number, values = int(file.metadata()["number"]), file.get_tensor("values")
    except (SafetensorError, OSError):
        return None
    return number if len(values) == VALUES and (values == number).all() else None


def _killed(path: Path, newest: int, chance: random.Random) -> int | None:
    """Kill a process that stores numbers behind ``newest``, one after another; the number found after it."""
    begun = FORK.Event()

    def work() -> None:
        number = newest
        while True:
            number += 1
            _store(path, number)
            begun.set()

    process = FORK.Process(target=work)
    process.start()
    begun.wait()
    time.sleep(chance.uniform(0.0, 0.05))
    process.kill()
    process.join()
    return _number(path)


def _failed(path: Path, kind: str, chance: random.Random) -> bool:
    """Whether a store that fails says so, keeps the old file and leaves nothing beside it."""
    before, room = path.read_bytes(), chance.randrange(path.stat().st_size)

    def work() -> None:
        if kind == KINDS[0]:
            os.fsync = _refuse  # type: ignore[assignment]
        else:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            _store(path, -1)
        except OSError:
            sys.exit(3)

    return call(work) == 3 and path.read_bytes() == before and not list(path.parent.glob(".part-*"))


def _refuse(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
