from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deft.engine.alive import STALE, abandoned, owner

REPORT = (
    "import json, sys; from deft.engine.alive import owner; print(json.dumps(owner()), flush=True); sys.stdin.read()"
)


def claim(folder: Path, worker: dict[str, Any], age: float = 0.0) -> Path:
    path = folder / "claim"
    path.write_text(json.dumps(worker))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_this_process_is_alive_as_long_as_it_touches_its_claim(tmp_path: Path) -> None:
    assert not abandoned(claim(tmp_path, owner()))
    assert not abandoned(claim(tmp_path, owner(), age=STALE / 2))
    assert abandoned(claim(tmp_path, owner(), age=STALE + 5))


def test_a_process_of_this_machine_is_dead_at_once(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", REPORT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    path = claim(tmp_path, json.loads(other.stdout.readline()))
    assert not abandoned(path)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead and not yet buried
    if owner()["born"]:  # where the system tells no more of a process than its number, this one is still there
        assert abandoned(path)
    other.communicate()
    assert abandoned(path)


def test_a_process_of_another_machine_is_known_by_its_touch_alone(tmp_path: Path) -> None:
    far = {"machine": "elsewhere", "process": 1, "born": "0"}
    assert not abandoned(claim(tmp_path, far))
    assert abandoned(claim(tmp_path, far, age=STALE + 5))


def test_a_number_that_was_given_to_a_new_process_is_a_dead_worker(tmp_path: Path) -> None:
    if not owner()["born"]:
        pytest.skip("this system does not tell when a process began")
    assert abandoned(claim(tmp_path, owner() | {"born": "12"}))


def test_a_claim_that_is_being_written_or_is_gone_is_nobodys_loss(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    assert not abandoned(path)
    path.write_text('{"machine"')
    assert not abandoned(path)
    os.utime(path, (0, 0))
    assert abandoned(path)
    assert [found.name for found in tmp_path.iterdir()] == ["claim"]
