"""Call a function for each image of a dataset, several at a time; results that are stored already are kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from deft.contracts import Dataset, InputError, Sample
from deft.engine import ranks
from deft.engine.claims import POLL, Claims
from deft.engine.memory import return_freed
from deft.engine.shortage import lacking, out_of_memory, reason_of, release
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
    with the number of images: at most two images per thread and one per reader are held. If it runs out all the same,
    the images that did not fit are tried again with half as many at a time, at last one by one.

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
        InputError: there is not enough memory for an image on its own; the message names it.
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
            crowd = _Crowd(2 * threads + readers, threads, lambda index: data.names[index], title)
            try:
                while True:
                    while len(under_way) < crowd.most and (index := crowd.next(source, bool(under_way))) is not None:
                        ahead = reading.submit(sample_of, index).result if readers else partial(sample_of, index)
                        under_way[pool.submit(one, index, ahead)] = index
                    if not under_way and source.over():
                        break
                    done += _collect(under_way, source, crowd)
                    bar.update(source.made - bar.n)
            except BaseException:
                source.close()  # first: whoever stops this process may not wait for the images in progress
                reading.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(inner)
        return_freed()
    return done


class _Crowd:
    """How many images are worked on at a time, and those to be tried again with fewer beside them."""

    def __init__(self, most: int, threads: int, name: Callable[[int], str], title: str) -> None:
        self.most, self.threads, self.name, self.title = most, threads, name, title
        self.again: list[int] = []
        self.alone: int | None = None
        """The image that is tried with no other beside it."""

    def next(self, source: _Source, others: bool) -> int | None:
        """The next image; one that did not fit waits until ``others`` are finished."""
        if not self.again:
            return None if self.alone is not None and others else source.take()
        if others:
            return None
        index = self.again.pop()
        self.alone = index
        return index

    def thin(self, index: int, error: Exception) -> None:
        """Memory ran out on an image: halve the crowd.

        Raises:
            InputError: there was no other image beside it.
        """
        if self.alone == index:
            raise InputError(f"{self.title}: {lacking(self.name(index), reason_of(error))}. Finished work is kept")
        self.again.append(index)
        fewer = max(1, min(self.most, self.threads) // 2)
        if fewer < self.most:
            at_a_time = "one image" if fewer == 1 else f"{fewer} images"
            why = reason_of(error)
            print(f"\n{self.title}: out of memory ({why}); continues with {at_a_time} at a time", file=sys.stderr)
        self.most = fewer


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


def _collect(under_way: dict[Future[None], int], source: _Source, crowd: _Crowd) -> int:
    """Wait up to half a second for images to finish; returns how many did."""
    if not under_way:
        time.sleep(POLL)
        return 0
    finished, _ = wait(under_way, timeout=POLL, return_when=FIRST_COMPLETED)
    done = 0
    while finished:
        future = finished.pop()
        index = under_way.pop(future)
        try:
            future.result()
        except Exception as error:
            if not out_of_memory(error):
                raise
            crowd.thin(index, error)
        else:
            source.finish(index)
            done += 1
            crowd.alone = None if crowd.alone == index else crowd.alone
            continue
        del future  # and with it the error, whose frames hold what the image took
        release()
    return done
