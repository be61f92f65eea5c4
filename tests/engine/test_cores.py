from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from deft.engine import cores as module
from deft.engine.cores import cores, free_cores


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processor_quota", lambda: None)


def test_a_share_of_the_machine_counts_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_a_system_that_refuses_to_tell_has_all_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int) -> set[int]:
        raise OSError("not implemented")

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    assert cores() == 4


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.0, 1), (2.9, 2), (8.0, 4)])
def test_a_quota_of_time_leaves_so_many_whole_cores(
    quota: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(module, "processor_quota", lambda: quota)
    assert cores() == expected


def ticks(*idle: int, total: int) -> str:
    """What the system tells of cores that were idle for these ticks of ``total``."""
    lines = [f"cpu{number} {total - part} 0 0 {part} 0 0 0 0 5 5" for number, part in enumerate(idle)]
    return "\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *lines, "intr 1 2 3", ""])


@pytest.mark.parametrize(
    ("idle", "allowed", "free"),
    [
        ((100, 100), {0, 1}, 2.0),
        ((100, 0), {0, 1}, 1.0),
        ((0, 0), {0, 1}, 0.0),
        ((50, 70, 100, 100), {0, 1, 2, 3}, 3.2),
        ((0, 100, 100, 100), {0, 2}, 1.0),
    ],
)
def test_cores_are_free_as_far_as_they_idle(
    idle: tuple[int, ...], allowed: set[int], free: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    stat.write_text(ticks(*(0 for _ in idle), total=0))
    monkeypatch.setattr(module, "_STAT", stat)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: stat.write_text(ticks(*idle, total=100)))
    monkeypatch.setattr(time, "process_time", lambda: 0.0)
    assert free_cores() == pytest.approx(free)


def test_the_time_of_this_process_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    stat.write_text(ticks(0, 0, total=0))
    monkeypatch.setattr(module, "_STAT", stat)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: stat.write_text(ticks(50, 50, total=100)))
    own, clock = iter((1.0, 1.25)), iter((10.0, 10.5))
    monkeypatch.setattr(time, "process_time", lambda: next(own))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    assert free_cores() == pytest.approx(1.5)


@pytest.mark.parametrize(("load", "free"), [(0.0, 4.0), (1.5, 2.5), (9.0, 0.0)])
def test_elsewhere_the_load_tells(load: float, free: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STAT", tmp_path / "none")
    monkeypatch.setattr(module, "cores", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 1.0, 1.0), raising=False)
    assert free_cores() == free


def test_where_nothing_is_told_all_cores_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STAT", tmp_path / "none")
    monkeypatch.setattr(module, "cores", lambda: 4)
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert free_cores() == 4.0
