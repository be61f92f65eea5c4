from __future__ import annotations

from pathlib import Path

import pytest

from deft.engine import cgroup
from deft.engine.cgroup import MemoryLimit, memory_limit, processor_quota

GB = 10**9


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders in place of the system's: ``fs`` for /sys/fs/cgroup, and ``own`` for /proc/self/cgroup."""
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path / "fs")
    monkeypatch.setattr(cgroup, "_OWN", tmp_path / "own")
    return tmp_path


def write(root: Path, own: str, files: dict[str, str]) -> None:
    (root / "own").write_text(own)
    for name, text in files.items():
        path = root / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_without_control_groups_nothing_is_limited(machine: Path) -> None:
    assert processor_quota() is None
    assert memory_limit() is None


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/job/step\n", {"job/cpu.max": "400000 100000\n", "job/step/cpu.max": "max 100000\n"}, 4.0),
        ("0::/job/step\n", {"job/cpu.max": "400000 100000\n", "job/step/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/seen/from/outside\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("3:cpu,cpuacct:/d\n", {"cpu,cpuacct/d/cpu.cfs_quota_us": "300000\n"}, None),
        (
            "3:cpu,cpuacct:/d\n",
            {"cpu,cpuacct/d/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/d/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("4:memory:/\n", {"cpu/cpu.cfs_quota_us": "1\n", "cpu/cpu.cfs_period_us": "1\n"}, None),
        ("no colons\n\n", {}, None),
    ],
)
def test_the_quota_of_the_processor(own: str, files: dict[str, str], quota: float | None, machine: Path) -> None:
    write(machine, own, files)
    assert processor_quota() == quota


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": f"{2 * GB}\n", "memory.current": f"{GB}\n"}, MemoryLimit(2 * GB, GB)),
        (
            "0::/\n",
            {"memory.max": f"{2 * GB}\n", "memory.current": f"{GB}\n", "memory.stat": "anon 3\ninactive_file 1000\n"},
            MemoryLimit(2 * GB, GB - 1000),
        ),
        ("0::/\n", {"memory.max": "max\n", "memory.current": f"{GB}\n"}, None),
        (
            "0::/a/b\n",
            {"a/memory.max": f"{4 * GB}\n", "a/memory.current": f"{3 * GB}\n", "a/b/memory.max": f"{2 * GB}\n"},
            MemoryLimit(4 * GB, 3 * GB),  # the group above leaves less
        ),
        (
            "4:memory:/d\n",
            {
                "memory/d/memory.limit_in_bytes": f"{GB}\n",
                "memory/d/memory.usage_in_bytes": "700\n",
                "memory/d/memory.stat": "total_inactive_file 900\n",
            },
            MemoryLimit(GB, 0),
        ),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_the_limit_of_memory(own: str, files: dict[str, str], limit: MemoryLimit | None, machine: Path) -> None:
    write(machine, own, files)
    assert memory_limit() == limit
