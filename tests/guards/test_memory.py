from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import load_tensors, read_arrays, save_tensors
from deft.backbone.weights import read_weights
from deft.guards.memory import is_shortage

SHORTAGES = [
    MemoryError("std::bad_alloc"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    ValueError("Cannot allocate memory (os error 12)"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes"),
]


@pytest.mark.parametrize("error", SHORTAGES)
def test_a_lack_of_memory_is_known_by_type_number_or_words(error: Exception) -> None:
    assert is_shortage(error)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), ValueError("header too large")])
def test_damage_is_no_lack_of_memory(error: Exception) -> None:
    assert not is_shortage(error)


@pytest.mark.parametrize("error", SHORTAGES)
def test_files_that_do_not_fit_into_memory_are_not_told_to_be_damaged(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object, **more: object) -> None:
        raise error

    save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(2)})
    monkeypatch.setattr("safetensors.safe_open", fails)
    with pytest.raises(MemoryError, match=r"no memory to read .*a\.safetensors"):
        load_tensors(tmp_path / "a.safetensors")
    with pytest.raises(MemoryError, match=r"no memory to read .*a\.safetensors"):
        read_weights(tmp_path / "a.safetensors")


def test_arrays_that_do_not_fit_into_memory_are_not_told_to_be_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object, **more: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    np.savez(tmp_path / "a.npz", maps=np.zeros(2))
    monkeypatch.setattr("numpy.load", fails)
    with pytest.raises(MemoryError, match=r"no memory to read .*a\.npz"):
        read_arrays(tmp_path / "a.npz", ["maps"])
