"""What stands in for a Ray cluster, and what the actors of a real one are given to do in tests."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from deft import __version__
from deft.contracts import InputError
from deft.engine.launch import launched
from deft.engine.ray_engine import Call, Worker, _result, block_count


class OneProcess:
    """Does the work of a cluster in this process, with the worker's own code; the last block comes first."""

    def __init__(self) -> None:
        self.blocks: list[list[int]] = []
        self.on_device: list[bool] = []

    def map(self, call: Call, items: Sequence[int], *, on_device: bool = True, most: int = 8) -> Iterator[Any]:
        self.on_device.append(on_device)
        if not items:
            return
        worker = Worker(call, os.getcwd(), __version__)
        for block in reversed(np.array_split(np.asarray(items, dtype=np.int64), block_count(len(items), most))):
            self.blocks.append(block.tolist())
            yield _result(json.loads(worker({"data": block})["answer"][0]))


def notes(folder: Path, poison: int = -1, always: bool = False) -> Callable[[Sequence[int]], list[int]]:
    """A function that notes every item in a file; the item ``poison`` kills its process, the first time or always."""

    def work(items: Sequence[int]) -> list[int]:
        for item in items:
            path = folder / f"{item}.txt"
            if path.exists():
                continue
            if item == poison and (always or not (folder / "killed").exists()):
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.01)
            with path.open("a") as file:
                file.write(f"{os.getpid()}\n")
        return list(items)

    return work


def threads() -> Callable[[Sequence[int]], list[int]]:
    """A function of the number of threads where it was prepared, and where it works."""
    prepared = torch.get_num_threads()
    return lambda items: [prepared, torch.get_num_threads()]


def refuses(what: str) -> Callable[[Sequence[int]], int]:
    """A function that refuses its work, or a call that does."""
    if what == "call":
        raise InputError("expected better arguments")

    def work(items: Sequence[int]) -> int:
        if what == "input":
            raise InputError(f"expected better items than {items[0]}")
        if what == "disk":
            raise OSError(28, "No space left on device", "/somewhere/file")
        if what == "memory":
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")
        if what == "no memory":
            raise MemoryError
        raise ZeroDivisionError("a bug")

    return work


def meets(folder: Path, code: int = 0, dies: bool = False) -> int:
    """What a process of a run does: it meets the others, prints what it knows, and may die, once."""
    total = torch.ones(1)
    dist.all_reduce(total)
    print(f"process {dist.get_rank()} of {int(total)} in {Path.cwd()}, {launched()}")
    print("a fault", file=sys.stderr)
    dist.barrier()
    if dist.get_rank() == 1 and dies and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()
    return code
