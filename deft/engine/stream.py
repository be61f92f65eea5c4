"""Map a function over a stream of items with several threads; results keep the order of the items."""

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
"""Threads beside a GPU: one uses it, the others decode inputs and encode results."""


def in_order(items: Iterable[Item], work: Callable[[Item], Result], threads: int = 0) -> Iterator[Result]:
    """``map`` with threads that read ahead a little: at most two items per thread are held in memory.

    Args:
        items: read in the calling thread, at most that far ahead.
        work: runs without gradients unless it enables them; hold :func:`device_lock` around what uses the network.
        threads: 0 takes as many threads as torch uses on a CPU, each of which then computes single-threaded, and
            :data:`BESIDE_GPU` beside a GPU.

    Yields:
        Results in the order of the items.

    Raises:
        Exception: whatever ``items`` or ``work`` raised; items in progress are finished first.
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
            torch.cuda.set_device(gpu)  # a new thread starts on the first GPU

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
    """Lock on a GPU, which computes one image after the other; no-op on a CPU, whose cores take one each."""
    return threading.Lock() if torch.cuda.is_available() else nullcontext()
