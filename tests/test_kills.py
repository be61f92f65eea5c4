"""Stopped in the middle, and the same command again: ``benchmarks/kills.py`` with a few stops at chosen moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kills.py"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the script writes; it starts the command by itself, because a fork of this process may hold threads."""
    path = tmp_path_factory.mktemp("kills") / "kills.md"
    stops = ["--at", "classifier", "seeds", "refine/labels", "refine", "segment"]
    stops += ["--starters", "2", "--saves", "5", "--workers", "0"]
    done = subprocess.run([sys.executable, SCRIPT, *stops, "--write", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return path.read_text(encoding="utf-8")


def rows(told: str, title: str) -> dict[str, list[str]]:
    """The lines of a section's tables by their first cell."""
    lines = told.partition(f"## {title}\n")[2].partition("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {first: rest for first, *rest in cells}


@pytest.mark.slow
def test_killed_in_trainings_and_between_files_it_ends_byte_for_byte_the_same(told: str) -> None:
    found = rows(told, "SIGKILL at chosen moments")
    assert found["classifier"] == ["1", "1"]  # one kill, after a checkpoint
    assert found["seeds"][0] == "1"
    assert found["refine"] == ["2", "1"]  # among the labels that it learns from, and after a checkpoint
    assert found["segment"] == ["1", "1"]
    runs, files, differ, *_ = found["0"]
    assert (runs, differ) == ("1", "0")
    assert int(files) > 150


@pytest.mark.slow
def test_a_kill_or_a_full_disk_leaves_a_whole_file(told: str) -> None:
    found = rows(told, "Stores")
    assert len(found) == 5  # a head, its line, three kinds
    assert [whole for times, whole in found.values() if times == "5"] == ["5"] * 3


@pytest.mark.slow
def test_a_second_start_is_refused_and_the_first_unharmed(told: str) -> None:
    assert "2 of 2 second starts refused with code 2" in told
