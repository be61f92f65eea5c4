"""Run a function over the images of a data set, several at a time; what is already stored is not made again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from deft.contracts import Dataset, Sample
from deft.engine import ranks
from deft.engine.claims import POLL, Claims
from deft.engine.launch import processes_of_this_machine
from deft.engine.worklist import WorkList

READERS = 4
"""Threads that read ahead beside a GPU, at most; a photograph takes them a hundredth of a second to decode."""


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def for_each(
    data: Dataset,
    indices: Sequence[int] | WorkList,
    work: Callable[[int, Sample], None],
    *,
    title: str,
    threads: int = 0,
    readers: int | None = None,
    on_device: bool = True,
    read: bool = True,
) -> int:
    """Call ``work(index, sample)`` for each index, one image a thread.

    Whole images in parallel use the cores better than parallel loops inside small operations, and memory does not
    grow with the number of images: at most two images a thread and one a reader are held.

    Args:
        data: where the samples come from.
        indices: which ones; of a work list those that are missing, shared with all who work on it, and the call
            returns when all of them are done.
        work: stores its result itself; runs without gradients unless it asks for them.
        title: beside the progress bar.
        threads: 0 takes one a core on a CPU, one beside a GPU.
        readers: threads that read images ahead; 0 reads each in the thread that works on it. None reads ahead beside
            a GPU, which would wait otherwise.
        on_device: False for work that leaves a GPU alone: it takes one thread a core all the same.
        read: False for work that needs no pixels: its samples have an empty image, (0, 0, 3), and no masks.

    Returns:
        How many images this process did.

    Raises:
        Exception: the first that ``work`` raised; images under way are finished, and others may claim the rest.
    """
    beside_gpu = on_device and torch.cuda.is_available()
    threads = threads or (1 if beside_gpu else _cores())
    if readers is None:
        readers = min(READERS, _cores()) if beside_gpu and read else 0
    inner = torch.get_num_threads()
    gpu = torch.cuda.current_device() if beside_gpu else None
    sample_of = data.__getitem__ if read else partial(_unread, data)

    def begin(share: int) -> None:
        torch.set_num_threads(share)
        if gpu is not None:
            torch.cuda.set_device(gpu)  # a thread begins with the first

    def one(index: int, sample: Callable[[], Sample]) -> None:
        with torch.no_grad():
            work(index, sample())

    done = 0
    try:
        with (
            _source(indices) as source,
            ThreadPoolExecutor(threads, initializer=begin, initargs=(max(1, inner // threads),)) as pool,
            ThreadPoolExecutor(max(1, readers)) as reading,
            _bar(source, title) as bar,
        ):
            under_way: dict[Future[None], int] = {}
            try:
                while True:
                    while len(under_way) < 2 * threads + readers and (index := source.take()) is not None:
                        ahead = reading.submit(sample_of, index).result if readers else partial(sample_of, index)
                        under_way[pool.submit(one, index, ahead)] = index
                    if not under_way and source.over():
                        break
                    done += _collect(under_way, source)
                    bar.update(source.made - bar.n)
            except BaseException:
                source.close()  # first: who stops this process may not wait for the images under way
                reading.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(inner)
    return done


class _Source(Protocol):
    """Where the next image comes from: :class:`deft.engine.claims.Claims`, or a sequence."""

    @property
    def total(self) -> int: ...

    @property
    def made(self) -> int: ...

    def take(self) -> int | None: ...

    def finish(self, index: int) -> None: ...

    def over(self) -> bool: ...

    def close(self) -> None: ...


class _Given:
    """The images of a sequence, in its order."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.total, self.made = len(indices), 0
        self._rest = iter(indices)

    def take(self) -> int | None:
        return next(self._rest, None)

    def finish(self, index: int) -> None:
        self.made += 1

    def over(self) -> bool:
        return True  # asked when there is nothing to take

    def close(self) -> None:
        pass


def _source(indices: Sequence[int] | WorkList) -> AbstractContextManager[_Source]:
    return Claims(indices) if isinstance(indices, WorkList) else nullcontext(_Given(indices))


def _bar(source: _Source, title: str) -> tqdm:
    """A progress bar, shown by the first process where there is something to do."""
    hidden = not source.total or not ranks.first()
    return tqdm(total=source.total, desc=title, unit="image", mininterval=1.0, disable=hidden)


def _cores() -> int:
    """Cores of this process's share of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes_of_this_machine())


def _unread(data: Dataset, index: int) -> Sample:
    return Sample(data.names[index], np.empty((0, 0, 3), dtype=np.uint8), data.labels[index])


def _collect(under_way: dict[Future[None], int], source: _Source) -> int:
    """Wait for an image, for half a second at most; returns how many are done."""
    if not under_way:
        time.sleep(POLL)
        return 0
    done, _ = wait(under_way, timeout=POLL, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        source.finish(under_way.pop(future))
    return len(done)
