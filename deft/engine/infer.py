"""Call a function for each image of a dataset, several at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from deft.contracts import Dataset, InputError, Sample
from deft.engine import ranks
from deft.engine.memory import return_freed
from deft.engine.shortage import lacking, out_of_memory, reason_of, release

READERS = 4
"""Most threads that read ahead beside a GPU; decoding a photograph takes about 10 ms."""


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def for_each(
    data: Dataset,
    indices: Sequence[int],
    work: Callable[[int, Sample], None],
    *,
    title: str,
    threads: int = 0,
    readers: int | None = None,
    on_device: bool = True,
    read: bool = True,
    bar: bool = True,
) -> int:
    """Call ``work(index, sample)`` for each index, one image a thread.

    Whole images in parallel use the cores better than parallel loops inside small operations. Memory does not grow
    with the number of images: at most two images per thread and one per reader are held. If it runs out all the same,
    the images that did not fit are tried again with half as many at a time, at last one by one.

    Args:
        data: the dataset.
        indices: which images.
        work: stores its result itself; runs without gradients unless it enables them.
        title: progress-bar label.
        threads: 0 takes as many as torch uses on a CPU (:mod:`deft.engine.threads`), one beside a GPU.
        readers: threads that read images ahead; 0 reads each image in the thread that works on it. None reads ahead
            beside a GPU, which would have to wait otherwise.
        on_device: False for work that does not use a GPU: it then takes as many threads as on a CPU.
        read: False for work that needs no pixels: its samples have an empty image, (0, 0, 3), and no masks.
        bar: show a progress bar, if this process is rank 0.

    Returns:
        The number of images.

    Raises:
        InputError: there is not enough memory for an image on its own; the message names it.
        Exception: the first that ``work`` raised; images in progress are finished.
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

    hidden = not bar or not indices or not ranks.first()
    return_freed()
    try:
        with (
            ThreadPoolExecutor(threads, initializer=begin, initargs=(max(1, inner // threads),)) as pool,
            ThreadPoolExecutor(max(1, readers)) as reading,
            tqdm(total=len(indices), desc=title, unit="image", mininterval=1.0, disable=hidden) as shown,
        ):
            under_way: dict[Future[None], int] = {}
            crowd = _Crowd(indices, 2 * threads + readers, threads, lambda index: data.names[index], title)
            try:
                while True:
                    while len(under_way) < crowd.most and (index := crowd.next(bool(under_way))) is not None:
                        ahead = reading.submit(sample_of, index).result if readers else partial(sample_of, index)
                        under_way[pool.submit(one, index, ahead)] = index
                    if not under_way:
                        break
                    shown.update(_collect(under_way, crowd))
            except BaseException:
                reading.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(inner)
        return_freed()
    return len(indices)


class _Crowd:
    """The images to come, how many are worked on at a time, and those to be tried again with fewer beside them."""

    def __init__(self, indices: Sequence[int], most: int, threads: int, name: Callable[[int], str], title: str) -> None:
        self.most, self.threads, self.name, self.title = most, threads, name, title
        self.rest: Iterator[int] = iter(indices)
        self.again: list[int] = []
        self.alone: int | None = None
        """The image that is tried with no other beside it."""

    def next(self, others: bool) -> int | None:
        """The next image; one that did not fit waits until ``others`` are finished."""
        if not self.again:
            return None if self.alone is not None and others else next(self.rest, None)
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


def _unread(data: Dataset, index: int) -> Sample:
    return Sample(data.names[index], np.empty((0, 0, 3), dtype=np.uint8), data.labels[index])


def _collect(under_way: dict[Future[None], int], crowd: _Crowd) -> int:
    """Wait for images to finish; returns how many did."""
    finished, _ = wait(under_way, return_when=FIRST_COMPLETED)
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
            done += 1
            crowd.alone = None if crowd.alone == index else crowd.alone
            continue
        del future  # and with it the error, whose frames hold what the image took
        release()
    return done
