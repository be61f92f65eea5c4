"""Run a function over the images of a data set, several at a time; what is already stored is not made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import torch
from tqdm import tqdm

from deft.contracts import Dataset, Sample


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
    on_device: bool = True,
) -> None:
    """Call ``work(index, sample)`` for each index, one image a thread.

    Whole images in parallel use the cores better than parallel loops inside small operations, and memory does not
    grow with the number of images: at most two images a thread are held.

    Args:
        data: where the samples come from.
        indices: which ones.
        work: stores its result itself; runs without gradients unless it asks for them.
        title: beside the progress bar.
        threads: 0 takes one a core on a CPU, one beside a GPU.
        on_device: False for work that leaves a GPU alone: it takes one thread a core all the same.

    Raises:
        Exception: the first that ``work`` raised; images under way are finished.
    """
    if not indices:
        return
    threads = threads or (1 if on_device and torch.cuda.is_available() else _cores())

    def one(index: int) -> None:
        with torch.no_grad():
            work(index, data[index])

    inner = torch.get_num_threads()
    share = max(1, inner // threads)
    waiting: set[Future[None]] = set()
    try:
        with (
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(share,)) as pool,
            tqdm(total=len(indices), desc=title, unit="image", mininterval=1.0) as bar,
        ):
            try:
                for index in indices:
                    waiting.add(pool.submit(one, index))
                    if len(waiting) >= 2 * threads:
                        waiting = _collect(waiting, bar)
                while waiting:
                    waiting = _collect(waiting, bar)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(inner)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(waiting: set[Future[None]], bar: tqdm) -> set[Future[None]]:
    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        bar.update()
    return waiting
