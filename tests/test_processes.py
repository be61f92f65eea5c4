"""Processes of a test end together and say what they saw."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from processes import together

PROGRAM = """
import os, sys, time
words, rank = sys.argv[1:-1], int(sys.argv[-1])
import processes  # found as from a test
print("rank", rank, "of", *words, os.environ["GLOO_SOCKET_IFNAME"], file=sys.stderr)
if words[0] == "fails" and rank == 1:
    sys.exit(3)
if words[0] == "waits" or words[0] == "fails":
    time.sleep(300)
open(f"{words[1]}/{rank}", "w").close()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_each_has_its_rank_and_all_are_waited_for(program: Path, tmp_path: Path) -> None:
    together(program, "ends", tmp_path, processes=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "program.py"]


def test_where_one_fails_the_others_are_ended_and_all_are_heard(program: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(AssertionError) as told:
        together(program, "fails", tmp_path)
    assert time.monotonic() - begun < 200
    assert "expected 2 processes to end with 0, got [-9, 3]" in str(told.value)
    for rank in (0, 1):
        assert f"rank {rank} of fails {tmp_path} lo" in str(told.value)


def test_patience_ends(program: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"got \[-9, -9\]"):
        together(program, "waits", tmp_path, patience=3)
