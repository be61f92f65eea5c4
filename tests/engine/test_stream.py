from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from deft.engine.stream import device_lock, in_order


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_keep_the_order_of_the_items(threads: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.01 if item % 3 == 0 else 0)  # the first of three is overtaken
        return item**2

    assert list(in_order(range(20), work, threads)) == [item**2 for item in range(20)]
    assert list(in_order([], work, threads)) == []


def test_few_items_are_held_at_a_time() -> None:
    read, lock = [0], threading.Lock()

    def items() -> Iterator[int]:
        for item in range(50):
            with lock:
                read[0] += 1
            yield item

    for done, _ in enumerate(in_order(items(), lambda item: item, threads=2)):
        assert read[0] - done <= 5


def test_work_runs_without_gradients_and_leaves_torch_as_it_was() -> None:
    before = torch.get_num_threads()
    assert list(in_order([0], lambda item: torch.is_grad_enabled(), threads=2)) == [False]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("source", ["items", "work"])
def test_an_error_ends_it_and_nothing_goes_on_behind(source: str) -> None:
    done = []

    def items() -> Iterator[int]:
        yield from range(5)
        if source == "items":
            raise ValueError("5")
        yield from range(5, 1000)

    def work(item: int) -> int:
        if item == 5:
            raise ValueError("5")
        done.append(item)
        return item

    with pytest.raises(ValueError, match="5"):
        list(in_order(items(), work, threads=2))
    count = len(done)
    time.sleep(0.02)
    assert len(done) == count < 20


@pytest.mark.parametrize(("gpu", "met"), [(False, [True, True]), (True, [False, False])])
def test_a_gpu_serves_one_thread_at_a_time_and_cores_serve_all(
    gpu: bool, met: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    lock, meeting, found = device_lock(), threading.Barrier(2), []

    def work() -> None:
        with lock:
            try:
                meeting.wait(0.2 if gpu else 20)
                found.append(True)
            except threading.BrokenBarrierError:  # the other is not let in meanwhile
                found.append(False)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == met


SHORTAGES = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
]


@pytest.mark.parametrize("error", SHORTAGES)
def test_items_that_do_not_fit_beside_others_are_tried_alone(error: Exception) -> None:
    lock, at_work, most, tries = threading.Lock(), [0], [0], [0]

    def work(item: int) -> int:
        with lock:
            tries[0] += 1
            at_work[0] += 1
            crowded = at_work[0] > 1
            most[0] = max(most[0], at_work[0])
        try:
            time.sleep(0.02)
            if crowded:
                raise error
            return item * 10
        finally:
            with lock:
                at_work[0] -= 1

    assert list(in_order(range(12), work, threads=4)) == [item * 10 for item in range(12)]
    assert most[0] > 1 and tries[0] > 12


def test_an_item_that_never_fits_gets_another_result_and_the_rest_goes_on() -> None:
    def work(item: int) -> str:
        if item in (3, 7):
            raise MemoryError("unable to allocate 5 GiB")
        return str(item)

    found = list(in_order(range(9), work, threads=2, too_large=lambda item, reason: f"{item} is too large: {reason}"))
    told = {item: f"{item} is too large: unable to allocate 5 GiB" for item in (3, 7)}
    assert found == [told.get(item, str(item)) for item in range(9)]
    with pytest.raises(MemoryError, match="5 GiB"):
        list(in_order(range(9), work, threads=2))


def test_other_errors_are_raised_at_once() -> None:
    tries: list[int] = []

    def work(item: int) -> int:
        tries.append(item)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_order([1], work, threads=1, too_large=lambda item, reason: 0))
    assert tries == [1]
