from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from deft.engine import machine
from deft.engine.cgroup import MemoryLimit
from deft.engine.machine import Memory, look, memory

TOTAL, AVAILABLE = 8_192_000, 4_096_000


@pytest.fixture(autouse=True)
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 8 MB of which 4 are available, without limits."""
    info = tmp_path / "meminfo"
    info.write_text("MemTotal:  8000 kB\nMemFree: 1 kB\nMemAvailable:  4000 kB\nHugePages_Total: 0\n\n")
    monkeypatch.setattr(machine, "_MEMINFO", info)
    monkeypatch.setattr(machine, "memory_limit", lambda: None)
    monkeypatch.setattr(machine, "_of_process", lambda: None)
    return info


def test_memory_of_linux() -> None:
    assert memory() == Memory(TOTAL, AVAILABLE)


@pytest.mark.parametrize(
    ("group", "own", "expected"),
    [
        (MemoryLimit(2**60, 0), None, Memory(TOTAL, AVAILABLE)),
        (MemoryLimit(5_000_000, 4_500_000), None, Memory(5_000_000, 500_000, True)),
        (MemoryLimit(7_000_000, 0), None, Memory(7_000_000, AVAILABLE, True)),
        (None, 2_000_000, Memory(2_000_000, 2_000_000, True)),
        (MemoryLimit(5_000_000, 4_500_000), 2_000_000, Memory(2_000_000, 500_000, True)),
        (None, 9_000_000, Memory(TOTAL, AVAILABLE)),
    ],
)
def test_the_smallest_limit_counts(
    group: MemoryLimit | None, own: int | None, expected: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory_limit", lambda: group)
    monkeypatch.setattr(machine, "_of_process", lambda: own)
    assert memory() == expected


def test_other_systems_tell_less(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told.unlink()
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 1000, raising=False)
    assert memory() == Memory(4_096_000, None)
    monkeypatch.delattr(os, "sysconf")
    assert memory() is None
    told.write_text("MemFree: 3 kB\n")
    assert memory() is None


def test_limits_of_a_process_are_those_of_ulimit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    resource = pytest.importorskip("resource")
    limits = {resource.RLIMIT_AS: resource.RLIM_INFINITY, resource.RLIMIT_DATA: 3_000_000}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], 0))
    assert machine._of_process() == 3_000_000
    limits[resource.RLIMIT_AS] = 2_000_000
    assert machine._of_process() == 2_000_000
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine._of_process() is None


def test_a_gpu_that_another_process_keeps_is_a_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[int, int]:
        raise RuntimeError("CUDA error: all devices are busy\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3, 4))
    assert machine._gpu() == machine.Gpu("A GPU", 2, 4, 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", refuse)
    assert machine._gpu() == machine.Gpu("A GPU", 2, 0, 0, "CUDA error: all devices are busy")


def test_a_look_at_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "measured", lambda: (1.5, 2))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = look()
    assert found.torch == torch.__version__
    assert found.threads.number == 3 and found.free == 1.5 and found.cores >= 1
    assert found.memory == Memory(TOTAL, AVAILABLE)
    assert found.precision in ("32-true", "bf16-mixed")
