from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from deft.engine import memory
from deft.engine.memory import keep_freed

GLIBC = platform.libc_ver()[0] == "glibc"

CODE = """
import resource, sys, torch
from deft.engine.memory import keep_freed
keep_freed(sys.argv[1] == "keep")
def step():
    a = torch.ones(8_000_000)
    return (a + 1).sum()
for _ in range(10):  # until the heap is as large as it gets
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not GLIBC, reason="only glibc can be told")
def test_what_was_freed_is_used_again() -> None:
    faults = {}
    for word in ("keep", "usual"):
        done = subprocess.run([sys.executable, "-c", CODE, word], capture_output=True, text=True, check=True)
        faults[word] = int(done.stdout)
    assert faults["keep"] < 0.5 * faults["usual"]


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed()


RETURNED = """
import sys, torch
from deft.engine.memory import keep_freed, return_freed
keep_freed(sys.argv[1] == "keep")
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
parts = [torch.ones(1_000_000) for _ in range(60)]  # 240 MB, of which the last one stays
rest = torch.ones(1000)
parts.clear()
kept = resident()
return_freed()
print(kept - resident())
"""


@pytest.mark.skipif(not GLIBC or sys.platform != "linux", reason="only glibc can be told")
def test_what_was_kept_is_returned_at_the_end() -> None:
    freed = {}
    for word in ("keep", "usual"):
        done = subprocess.run([sys.executable, "-c", RETURNED, word], capture_output=True, text=True, check=True)
        freed[word] = int(done.stdout)
    assert freed["keep"] > 200e6
    assert freed["usual"] < 100e6  # the allocator of other programs is left alone


PEAKS = """
from deft.engine.memory import peak_memory
before = peak_memory()
held = bytearray(80_000_000)
held[::4096] = b"\\1" * len(held[::4096])
during = peak_memory()
del held
print(before, during, peak_memory())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell")
def test_peak_memory_rises_and_does_not_fall() -> None:
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    before, during, after = map(int, done.stdout.split())
    assert 70e6 < during - before < 100e6
    assert abs(after - during) < 2e6  # Linux counts pages on each core, and adds them up now and then
