from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from deft.contracts import InputError, Sample
from deft.data import open_data
from deft.engine.infer import for_each


class Counted:
    """A dataset that knows how many of its samples are held and how many were read."""

    classes = ("a",)

    def __init__(self, images: int) -> None:
        self.names = tuple(f"{index}.png" for index in range(images))
        self.labels = np.ones((images, 1), dtype=bool)
        self.held = self.most = self.reads = 0
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        with self.lock:
            self.reads += 1
            self.held += 1
            self.most = max(self.most, self.held)
        return Sample(self.names[index], np.full((2, 2, 3), index, dtype=np.uint8), self.labels[index])

    def let_go(self) -> None:
        with self.lock:
            self.held -= 1


def test_every_image_once_without_gradients_and_threads_are_given_back() -> None:
    data = open_data("demo:train=7,val=2,size=96").train
    seen: dict[int, str] = {}
    lock = threading.Lock()
    before = torch.get_num_threads()

    def work(index: int, sample: Sample) -> None:
        assert not torch.is_grad_enabled()
        assert np.array_equal(sample.labels, data.labels[index])
        with lock:
            seen[index] = sample.name

    assert for_each(data, [5, 1, 3], work, title="t", threads=2) == 3
    assert seen == {index: data.names[index] for index in (1, 3, 5)}
    assert torch.get_num_threads() == before


def test_the_first_fault_ends_the_work() -> None:
    data = open_data("demo:train=7,val=2,size=96").train
    done = []

    def work(index: int, sample: Sample) -> None:
        if index == 1:
            raise ValueError("broken image")
        done.append(index)

    with pytest.raises(ValueError, match="broken image"):
        for_each(data, range(7), work, title="t", threads=1)
    assert len(done) < 7


@pytest.mark.parametrize(("threads", "readers"), [(1, 0), (3, 0), (1, 3), (2, 2)])
def test_reading_ahead_is_bounded_and_changes_no_result(threads: int, readers: int) -> None:
    data, found = Counted(40), {}

    def work(index: int, sample: Sample) -> None:
        time.sleep(0.002)  # slower than the reading
        found[index] = int(sample.image[0, 0, 0])
        data.let_go()

    for_each(data, range(40), work, title="t", threads=threads, readers=readers)
    assert found == {index: index for index in range(40)}
    assert data.reads == 40
    assert data.most <= (2 * threads + readers if readers else threads)


@pytest.mark.parametrize("readers", [0, 2])
def test_an_image_that_cannot_be_read_ends_the_work(readers: int) -> None:
    class Broken(Counted):
        def __getitem__(self, index: int) -> Sample:
            if index == 3:
                raise OSError("truncated")
            return super().__getitem__(index)

    data, done = Broken(500), []
    with pytest.raises(OSError, match="truncated"):
        for_each(data, range(500), lambda index, sample: done.append(index), title="t", threads=1, readers=readers)
    assert set(done) < set(range(20))


def test_work_that_needs_no_pixels_reads_none() -> None:
    data, seen = Counted(5), []

    def work(index: int, sample: Sample) -> None:
        seen.append((index, sample.name, sample.image.shape, sample.labels.tolist()))

    for_each(data, [4, 2], work, title="t", threads=1, read=False)
    assert seen == [(4, "4.png", (0, 0, 3), [True]), (2, "2.png", (0, 0, 3), [True])]
    assert data.reads == 0


def test_a_slow_image_keeps_no_thread_waiting() -> None:
    others = threading.Event()
    done: list[int] = []

    def work(index: int, sample: Sample) -> None:
        if index == 0:
            assert others.wait(20), "the other thread did not go on"
        done.append(index)
        if len(done) == 39:
            others.set()

    assert for_each(Counted(40), range(40), work, title="t", threads=2) == 40
    assert done[-1] == 0 and sorted(done) == list(range(40))


def test_images_that_do_not_fit_together_are_made_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    data, lock, at_work, done = Counted(20), threading.Lock(), [0], []

    def work(index: int, sample: Sample) -> None:
        with lock:
            at_work[0] += 1
            crowded = at_work[0] > 1
        try:
            time.sleep(0.02)
            if crowded:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
            with lock:
                done.append(index)
        finally:
            with lock:
                at_work[0] -= 1

    assert for_each(data, range(20), work, title="seeds", threads=4) == 20
    assert sorted(done) == list(range(20))
    said = capsys.readouterr().err
    assert "seeds: out of memory" in said and "continues with one image at a time" in said
    assert said.count("out of memory") <= 2  # from 4 to 2, from 2 to 1


@pytest.mark.parametrize("error", [MemoryError("no room"), torch.OutOfMemoryError("CUDA out of memory. Tried")])
def test_an_image_that_does_not_fit_alone_is_named(error: Exception) -> None:
    data, done = Counted(9), []

    def work(index: int, sample: Sample) -> None:
        if index == 4:
            raise error
        done.append(index)

    with pytest.raises(InputError, match=r"seeds: 4\.png: needs more memory .* smaller --max-side"):
        for_each(data, range(9), work, title="seeds", threads=2)
    assert {0, 1, 2, 3} <= set(done)


def test_reading_that_lacks_memory_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    class Heavy(Counted):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            if index == 2 and not tried:
                tried.append(index)
                raise MemoryError
            return sample

    done: list[int] = []
    tried: list[int] = []
    data = Heavy(5)
    assert for_each(data, range(5), lambda index, sample: done.append(index), title="masks", threads=2) == 5
    assert sorted(done) == [0, 1, 2, 3, 4] and "masks: out of memory (MemoryError)" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "shown"), [({}, True), ({"bar": False}, False)])
def test_the_bar_is_shown_where_it_is_wanted(
    given: dict[str, bool], shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for_each(Counted(3), range(3), lambda index, sample: None, title="some title", threads=1, **given)
    for_each(Counted(3), [], lambda index, sample: None, title="nothing to do", threads=1)
    said = capsys.readouterr().err
    assert ("some title" in said) == shown and "nothing to do" not in said
