"""Work on things that come one after the other, several at a time, with results in the same order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

BESIDE_GPU = 4
"""Threads beside a GPU: one uses it, the others decode what comes and encode what was made."""


def in_order(items: Iterable[Item], work: Callable[[Item], Result], threads: int = 0) -> Iterator[Result]:
    """``map`` over threads that read ahead a little: at most two items a thread are held, however many there are.

    Args:
        items: read in the calling thread, as far ahead as that.
        work: runs without gradients unless it asks for them; wrap what may run once at a time in :func:`device_lock`.
        threads: 0 takes as many as torch computes with on a CPU, each of which then computes alone, and
            :data:`BESIDE_GPU` beside a GPU.

    Yields:
        Results in the order of the items.

    Raises:
        Exception: what ``items`` or ``work`` raised; what is under way is finished.
    """
    inner = torch.get_num_threads()
    threads = threads or (BESIDE_GPU if torch.cuda.is_available() else inner)

    def one(item: Item) -> Result:
        with torch.no_grad():
            return work(item)

    gpu = torch.cuda.current_device() if torch.cuda.is_available() else None

    def begin() -> None:
        torch.set_num_threads(max(1, inner // threads))
        if gpu is not None:
            torch.cuda.set_device(gpu)  # a thread begins with the first

    pool = ThreadPoolExecutor(threads, initializer=begin)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(one, item))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(inner)


def device_lock() -> AbstractContextManager[object]:
    """What a network's work is done under: a GPU takes one image after the other, the cores of a CPU one each."""
    return threading.Lock() if torch.cuda.is_available() else nullcontext()
