"""Call a function for each image of a dataset, several at a time; results that are stored already are kept."""

from __future__ import annotations

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
from deft.engine.worklist import WorkList

READERS = 4
"""Most threads that read ahead beside a GPU; decoding a photograph takes about 10 ms."""


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

    Whole images in parallel use the cores better than parallel loops inside small operations. Memory does not grow
    with the number of images: at most two images per thread and one per reader are held.

    Args:
        data: the dataset.
        indices: which images; for a work list the missing ones, shared with every process that works on it: the call
            returns when all of them are done.
        work: stores its result itself; runs without gradients unless it enables them.
        title: progress-bar label.
        threads: 0 takes as many as torch uses on a CPU (:mod:`deft.engine.threads`), one beside a GPU.
        readers: threads that read images ahead; 0 reads each image in the thread that works on it. None reads ahead
            beside a GPU, which would have to wait otherwise.
        on_device: False for work that does not use a GPU: it then takes as many threads as on a CPU.
        read: False for work that needs no pixels: its samples have an empty image, (0, 0, 3), and no masks.

    Returns:
        The number of images this process worked on.

    Raises:
        Exception: the first that ``work`` raised; images in progress are finished, and others may claim the rest.
    """
    beside_gpu = on_device and torch.cuda.is_available()
    inner = torch.get_num_threads()
    threads = threads or (1 if beside_gpu else inner)
    if readers is None:
        readers = min(READERS, inner) if beside_gpu and read else 0
    gpu = torch.cuda.current_device() if beside_gpu else None
    sample_of = data.__getitem__ if read else partial(_unread, data)

    def begin(inside: int) -> None:
        torch.set_num_threads(inside)
        if gpu is not None:
            torch.cuda.set_device(gpu)  # a new thread starts on the first GPU

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
                source.close()  # first: whoever stops this process may not wait for the images in progress
                reading.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(inner)
    return done


class _Source(Protocol):
    """Source of the next image: :class:`deft.engine.claims.Claims`, or a sequence."""

    @property
    def total(self) -> int: ...

    @property
    def made(self) -> int: ...

    def take(self) -> int | None: ...

    def finish(self, index: int) -> None: ...

    def over(self) -> bool: ...

    def close(self) -> None: ...


class _Given:
    """The images of a sequence, in order."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.total, self.made = len(indices), 0
        self._rest = iter(indices)

    def take(self) -> int | None:
        return next(self._rest, None)

    def finish(self, index: int) -> None:
        self.made += 1

    def over(self) -> bool:
        return True  # called when nothing is left to take

    def close(self) -> None:
        pass


def _source(indices: Sequence[int] | WorkList) -> AbstractContextManager[_Source]:
    return Claims(indices) if isinstance(indices, WorkList) else nullcontext(_Given(indices))


def _bar(source: _Source, title: str) -> tqdm:
    """A progress bar, shown by rank 0 if there is anything to do."""
    hidden = not source.total or not ranks.first()
    return tqdm(total=source.total, desc=title, unit="image", mininterval=1.0, disable=hidden)


def _unread(data: Dataset, index: int) -> Sample:
    return Sample(data.names[index], np.empty((0, 0, 3), dtype=np.uint8), data.labels[index])


def _collect(under_way: dict[Future[None], int], source: _Source) -> int:
    """Wait up to half a second for images to finish; returns how many did."""
    if not under_way:
        time.sleep(POLL)
        return 0
    done, _ = wait(under_way, timeout=POLL, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        source.finish(under_way.pop(future))
    return len(done)
