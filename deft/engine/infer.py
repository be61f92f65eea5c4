"""Call a function for each image of a dataset, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice

import numpy as np
import torch
from tqdm import tqdm

from deft.contracts import Dataset, Sample
from deft.engine import ranks
from deft.engine.cores import cores
from deft.engine.launch import processes_of_this_machine

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
    with the number of images: at most two images per thread and one per reader are held.

    Args:
        data: the dataset.
        indices: which images.
        work: stores its result itself; runs without gradients unless it enables them.
        title: progress-bar label.
        threads: 0 takes one per core on a CPU, one beside a GPU.
        readers: threads that read images ahead; 0 reads each image in the thread that works on it. None reads ahead
            beside a GPU, which would have to wait otherwise.
        on_device: False for work that does not use a GPU: it then takes one thread per core on any machine.
        read: False for work that needs no pixels: its samples have an empty image, (0, 0, 3), and no masks.
        bar: show a progress bar, if this process is rank 0.

    Returns:
        The number of images.

    Raises:
        Exception: the first that ``work`` raised; images in progress are finished.
    """
    beside_gpu = on_device and torch.cuda.is_available()
    share = max(1, cores() // processes_of_this_machine())
    threads = threads or (1 if beside_gpu else share)
    if readers is None:
        readers = min(READERS, share) if beside_gpu and read else 0
    inner = torch.get_num_threads()
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
    rest = iter(indices)
    try:
        with (
            ThreadPoolExecutor(threads, initializer=begin, initargs=(max(1, inner // threads),)) as pool,
            ThreadPoolExecutor(max(1, readers)) as reading,
            tqdm(total=len(indices), desc=title, unit="image", mininterval=1.0, disable=hidden) as shown,
        ):
            under_way: set[Future[None]] = set()
            try:
                while True:
                    for index in islice(rest, 2 * threads + readers - len(under_way)):
                        ahead = reading.submit(sample_of, index).result if readers else partial(sample_of, index)
                        under_way.add(pool.submit(one, index, ahead))
                    if not under_way:
                        break
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                    shown.update(len(done))
            except BaseException:
                reading.shutdown(wait=False, cancel_futures=True)
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(inner)
    return len(indices)


def _unread(data: Dataset, index: int) -> Sample:
    return Sample(data.names[index], np.empty((0, 0, 3), dtype=np.uint8), data.labels[index])
