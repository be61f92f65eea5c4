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
