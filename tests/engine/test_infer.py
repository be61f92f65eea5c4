from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from deft.contracts import Sample
from deft.data import open_data
from deft.engine.infer import for_each


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

    for_each(data, [5, 1, 3], work, title="t", threads=2)
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
