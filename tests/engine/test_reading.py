from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest
import torch
from torch import Tensor

from deft.engine.plan import Plan
from deft.engine.reading import Batches, batches_of, reader, reading_processes


def test_each_rank_takes_its_cards_of_the_same_deal() -> None:
    whole = list(Batches(10, 4, 3, range(5, 9)))
    parts = [list(Batches(10, 4, 3, range(5, 9), rank, 2)) for rank in (0, 1)]
    assert [len(batch) for batch in whole] == [4, 4, 4, 4]
    assert [[batch[::2], batch[1::2]] for batch in whole] == [list(pair) for pair in zip(*parts, strict=True)]


def test_batches_are_a_function_of_the_step() -> None:
    assert list(Batches(10, 4, 3, range(9)))[6:] == list(Batches(10, 4, 3, range(6, 9)))


def test_a_number_of_workers_is_obeyed_and_none_leaves_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, spare in ((1, 0), (2, 0), (3, 1), (64, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)), raising=False)
        assert reading_processes(None) == spare
        assert reading_processes(7) == 7
        assert reading_processes(0) == 0


class Numbers:
    def __len__(self) -> int:
        return 6

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        return {"x": torch.tensor(index / 6)}

    def name(self, index: int) -> str:
        return str(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_readers_are_ended_even_while_an_error_is_looked_at(workers: int) -> None:
    before = set(multiprocessing.active_children())
    loader = reader(Numbers(), Plan(epochs=1, min_steps=50, batch=2, workers=workers), 0, range(50))
    with pytest.raises(ValueError, match="third") as found, batches_of(loader) as batches:
        for number, batch in enumerate(batches):
            assert torch.equal(batch["x"], batch["index"] / 6)
            assert len(set(multiprocessing.active_children()) - before) == workers
            if number == 2:
                raise ValueError("third")
    assert found.value.__traceback__ is not None
    assert set(multiprocessing.active_children()) == before
