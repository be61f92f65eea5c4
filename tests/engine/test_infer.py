from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.contracts import InputError, Sample
from deft.data import open_data
from deft.engine import claims, infer
from deft.engine.infer import for_each
from deft.engine.worklist import WorkList


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


def listed(folder: Path, images: int) -> WorkList:
    return WorkList(folder / "claims", [folder / f"{index}.txt" for index in range(images)])


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


@pytest.mark.parametrize("readers", [0, 2])
def test_a_work_list_is_worked_off(readers: int, tmp_path: Path) -> None:
    data, todo = Counted(50), listed(tmp_path, 50)
    todo.paths[7].write_text("old")

    def work(index: int, sample: Sample) -> None:
        todo.paths[index].write_text(sample.name)

    assert for_each(data, todo, work, title="t", threads=2, readers=readers) == 49
    assert [path.read_text() for path in todo.paths] == ["old" if index == 7 else f"{index}.png" for index in range(50)]
    assert for_each(data, todo, work, title="t", threads=2, readers=readers) == 0
    assert data.reads == 49


def test_a_slow_image_at_the_end_of_a_bucket_keeps_nobody_waiting(tmp_path: Path) -> None:
    data, todo = Counted(40), listed(tmp_path, 40)
    slow: list[int] = []
    others = threading.Event()

    def work(index: int, sample: Sample) -> None:
        slow.append(index)
        if todo.bucket(index) != todo.bucket(slow[0]):
            others.set()
        elif index == slow[0]:
            assert others.wait(20), "the other thread did not go on to another bucket"
        todo.paths[index].write_text("")

    assert for_each(data, todo, work, title="t", threads=2) == 40


def test_a_fault_lets_go_of_what_was_claimed(tmp_path: Path) -> None:
    data, todo = Counted(40), listed(tmp_path, 40)

    def work(index: int, sample: Sample) -> None:
        if index == 11:
            raise ValueError("broken image")
        todo.paths[index].write_text("")

    with pytest.raises(ValueError, match="broken image"):
        for_each(data, todo, work, title="t", threads=2)
    assert not list(todo.folder.glob("*.claim"))
    made = sum(path.exists() for path in todo.paths)
    assert for_each(data, todo, lambda index, _: todo.paths[index].touch(), title="t", threads=2) == 40 - made


def test_threads_of_one_process_wait_for_each_others_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "POLL", 0.02)
    monkeypatch.setattr(infer, "POLL", 0.02)
    data, todo = Counted(60), listed(tmp_path, 60)
    made: list[int] = []
    complete = []

    def work(index: int, sample: Sample) -> None:
        time.sleep(0.001)
        made.append(index)
        todo.paths[index].write_text("")

    def take_part() -> None:
        for_each(data, todo, work, title="t", threads=1)
        complete.append(all(path.exists() for path in todo.paths))

    workers = [threading.Thread(target=take_part) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert complete == [True] * 3  # nobody left before all was done
    assert sorted(made) == list(range(60))


@pytest.mark.parametrize("listed_ones", [False, True])
def test_images_that_do_not_fit_together_are_made_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listed_ones: bool
) -> None:
    data, lock, at_work, done = Counted(20), threading.Lock(), [0], []
    todo = listed(tmp_path, 20)

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
            todo.paths[index].write_text("made")
        finally:
            with lock:
                at_work[0] -= 1

    made = for_each(data, todo if listed_ones else range(20), work, title="seeds", threads=4)
    assert made == 20 and sorted(done) == list(range(20))
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
