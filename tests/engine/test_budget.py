from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from deft.engine import budget as module
from deft.engine.budget import AUTO, Budget, begun_with, budget, resident
from deft.engine.machine import Memory

GB = 10**9
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 20 of 24 GB available, one process of 1 GB, and no limits."""
    has(monkeypatch, Memory(24 * GB, 20 * GB))
    monkeypatch.setattr(module, "processes_of_this_machine", lambda: 1)
    monkeypatch.setattr(module, "resident", lambda: GB)
    monkeypatch.setattr(module, "_left_of_limits", list)


def has(monkeypatch: pytest.MonkeyPatch, memory: Memory | None) -> None:
    monkeypatch.setattr(module, "memory", lambda: memory)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (Memory(24 * GB, 20 * GB), Budget(20 * GB, "available")),
        (Memory(3 * GB, 2 * GB, limited=True), Budget(2 * GB, "available within the limit")),
        (Memory(3 * GB, -5, limited=True), Budget(0, "available within the limit")),
        (Memory(16 * GB, None), Budget(15 * GB, "in this machine")),
        (None, None),
    ],
)
def test_auto_takes_what_is_there(
    memory: Memory | None, expected: Budget | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, memory)
    assert budget(AUTO, CPU) == expected


@pytest.mark.parametrize(("limits", "free"), [([], 20), ([5], 5), ([30], 20), ([7, 4], 4), ([-1], 0)])
def test_limits_of_the_process_count_too(limits: list[int], free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_left_of_limits", lambda: [GB * limit for limit in limits])
    found = budget(AUTO, CPU)
    assert found is not None and found.free == free * GB
    assert found.why == ("available" if free == 20 else "left of ulimit")


@pytest.mark.parametrize(("asked", "free"), [(3.0, 2.0), (1.5, 0.5), (0.5, 0.0), (100.0, 20.0)])
def test_what_was_asked_for_includes_what_the_process_has(asked: float, free: float) -> None:
    found = budget(asked, CPU)
    assert found is not None and found.free == free * GB
    assert found.why == ("available" if asked == 100 else f"left of --memory {asked:g}")


def test_it_is_known_even_where_the_system_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, None)
    assert budget(3, CPU) == Budget(2 * GB, "left of --memory 3")


def test_processes_share_a_machine_but_not_their_own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processes_of_this_machine", lambda: 4)
    assert budget(AUTO, CPU) == Budget(5 * GB, "available")
    assert budget(3, CPU) == Budget(2 * GB, "left of --memory 3")


def test_of_a_gpu_what_is_free_and_what_torch_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GB, 24 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 * GB)
    assert budget(AUTO, gpu) == Budget(12 * GB, "free on the GPU")
    assert budget(8, gpu) == Budget(5 * GB, "left of --memory 8")

    def broken(device: torch.device) -> tuple[int, int]:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert budget(AUTO, gpu) is None


@pytest.mark.parametrize(
    ("asked", "recorded", "expected"),
    [
        (AUTO, None, AUTO),
        (AUTO, "auto", AUTO),
        (AUTO, 3, 3.0),
        (AUTO, 2.5, 2.5),
        (AUTO, True, AUTO),
        (AUTO, -1, AUTO),
        (AUTO, [3], AUTO),
        (4.0, 3.0, 4.0),
    ],
)
def test_a_run_keeps_what_it_was_begun_with(asked: float | str, recorded: object, expected: float | str) -> None:
    assert begun_with(asked, recorded) == expected  # type: ignore[arg-type]


def test_what_this_process_holds_is_plausible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    assert 50e6 < resident() < 1e12
    monkeypatch.setattr(module, "_SIZES", tmp_path / "statm")  # as on systems without
    assert 50e6 < resident() < 1e12


@pytest.mark.skipif(sys.platform == "win32", reason="ulimit is Unix")
def test_limits_leave_what_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import resource

    monkeypatch.undo()
    sizes = tmp_path / "statm"
    sizes.write_text("1000 400 100 1 0 600 0\n")
    monkeypatch.setattr(module, "_SIZES", sizes)
    limits = {resource.RLIMIT_AS: 3 * GB, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limits[which], limits[which]))
    page = resource.getpagesize()
    assert module._left_of_limits() == [3 * GB - 1000 * page]
    limits[resource.RLIMIT_DATA] = 2 * GB
    assert module._left_of_limits() == [3 * GB - 1000 * page, 2 * GB - 600 * page]
    assert resident() == 400 * page
