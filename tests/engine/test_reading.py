from __future__ import annotations

import os

import pytest

from deft.engine.reading import Batches, reading_processes


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
