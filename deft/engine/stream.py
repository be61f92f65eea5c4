"""Map a function over a stream of items with several threads; results keep the order of the items."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

from deft.engine.shortage import out_of_memory, reason_of, release

Item = TypeVar("Item")
Result = TypeVar("Result")

BESIDE_GPU = 4
"""Threads beside a GPU: one uses it, the others decode inputs and encode results."""


def in_order(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    threads: int = 0,
    too_large: Callable[[Item, str], Result] | None = None,
) -> Iterator[Result]:
    """``map`` with threads that read ahead a little: at most two items per thread are held in memory.

    If memory runs out, the items in progress are finished, those that did not fit are tried again one by one, and half
    as many items are worked on from then on.

    Args:
        items: read in the calling thread, at most that far ahead.
        work: runs without gradients unless it enables them; hold :func:`device_lock` around what uses the network.
        threads: 0 takes as many threads as torch uses on a CPU, each of which then computes single-threaded, and
            :data:`BESIDE_GPU` beside a GPU.
        too_large: of an item for which there is not enough memory on its own, and of the reason: the result instead.
            None raises the error.

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
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    most = 2 * threads

    def alone(item: Item) -> Result:
        try:
            return pool.submit(one, item).result()
        except Exception as error:
            if too_large is None or not out_of_memory(error):
                raise
            return too_large(item, reason_of(error))

    def oldest() -> Result:
        nonlocal most
        item, future = waiting.popleft()
        try:
            return future.result()
        except Exception as error:
            if not out_of_memory(error):
                raise
        del future  # and with it the error, whose frames hold what the item took
        wait([other for _, other in waiting])
        most = max(1, min(most, threads) // 2)
        release()
        return alone(item)

    try:
        for item in items:
            waiting.append((item, pool.submit(one, item)))
            while len(waiting) >= most:
                yield oldest()
        while waiting:
            yield oldest()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(inner)


def device_lock() -> AbstractContextManager[object]:
    """Lock on a GPU, which computes one image after the other; no-op on a CPU, whose cores take one each."""
    return threading.Lock() if torch.cuda.is_available() else nullcontext()
