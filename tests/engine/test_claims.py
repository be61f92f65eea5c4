from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deft.engine import alive
from deft.engine import claims as claims_module
from deft.engine.claims import Claims
from deft.engine.worklist import WorkList

WORKER = """
import sys, time
from pathlib import Path
from deft.engine import claims as module
from deft.engine.worklist import WorkList
module.POLL = 0.02
stage, images, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
paths = [stage / "train" / f"{index}.txt" for index in range(images)]
with module.Claims(WorkList(stage / "claims-train", paths, "key")) as claims:
    print("ready", flush=True)
    sys.stdin.readline()
    while not claims.over():
        index = claims.take()
        if index is None:
            time.sleep(0.02)
            continue
        print(index, flush=True)
        if mode == "hang":
            time.sleep(60)
        time.sleep(0.005)
        paths[index].write_text(str(index))
        claims.finish(index)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "POLL", 0.02)


def listed(stage: Path, images: int, part: str = "train") -> WorkList:
    (stage / part).mkdir(parents=True, exist_ok=True)
    paths = [stage / part / f"{index}.txt" for index in range(images)]
    return WorkList(stage / f"claims-{part}", paths, "key")


def work_off(todo: WorkList, make: Callable[[int], None] | None = None) -> list[int]:
    """Take part until all is done; the images made here."""
    made = []
    with Claims(todo) as claims:
        while (index := next_image(claims)) is not None:
            if make is None:
                todo.paths[index].write_text(str(index))
            else:
                make(index)
            claims.finish(index)
            made.append(index)
    return made


def next_image(claims: Claims, seconds: float = 20.0) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        index = claims.take()
        if index is not None or claims.over():
            return index
        time.sleep(0.01)
    raise TimeoutError


def claim_files(todo: WorkList) -> set[str]:
    return {path.name for path in todo.folder.glob("*.claim")}


def start(stage: Path, images: int, mode: str = "work") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(stage), str(images), mode]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_one_worker_makes_every_image_once_and_leaves_no_claim(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 50)
    assert sorted(work_off(todo)) == list(range(50))
    assert claim_files(todo) == set()
    assert work_off(todo) == []
    todo.clear()
    assert sorted(path.name for path in (tmp_path / "seeds").iterdir()) == ["train"]
    todo.clear()


def test_processes_share_a_list_and_make_each_image_once(tmp_path: Path) -> None:
    stage = tmp_path / "seeds"
    todo = listed(stage, 120)
    workers = [start(stage, 120) for _ in range(2)]
    made = []
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        made.append({int(line) for line in out.split()})
    assert made[0] | made[1] == set(range(120))
    assert not made[0] & made[1]
    assert min(map(len, made)) > 0
    assert work_off(todo) == []


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 40)
    for index in range(0, 40, 3):
        todo.paths[index].write_text("old")
    assert sorted(work_off(todo)) == [index for index in range(40) if index % 3]
    assert todo.paths[0].read_text() == "old"


def test_images_for_which_there_is_nothing_to_store_are_tried_once(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 20)

    def make(index: int) -> None:
        if index % 2:
            todo.paths[index].write_text("")

    assert len(work_off(todo, make)) == 20
    assert work_off(todo, make) == []
    todo.paths[3].unlink()  # somebody wants it again; its bucket is looked through
    assert 3 in work_off(todo, make)
    assert todo.paths[3].exists()


def test_a_killed_workers_bucket_is_taken_over_at_once_on_its_machine(tmp_path: Path) -> None:
    stage = tmp_path / "seeds"
    todo = listed(stage, 24)
    worker = start(stage, 24, "hang")
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "ready\n"
    worker.stdout.readline()
    held = claim_files(todo)
    assert len(held) == 1
    worker.kill()  # and not yet buried: a zombie works no more
    try:
        made = work_off(todo)
    finally:
        worker.communicate()
    assert sorted(made) == list(range(24))
    assert claim_files(todo) == held  # the dead claim lies there until the list is cleared


def test_a_live_workers_bucket_is_waited_for(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 24)
    with Claims(todo) as slow, Claims(todo) as fast:
        first = slow.take()
        assert first is not None
        own = {index for index in range(24) if todo.bucket(index) == todo.bucket(first)}
        while (index := fast.take()) is not None:
            todo.paths[index].write_text("")
            fast.finish(index)
        time.sleep(0.05)
        assert fast.take() is None
        assert not fast.over()
        assert fast.made == 24 - len(own) < fast.total == 24
        while first is not None:
            todo.paths[first].write_text("")
            slow.finish(first)
            first = slow.take()
        assert next_image(fast) is None
        assert fast.made == 24
        assert next_image(slow) is None


def test_a_claim_of_another_machine_is_taken_over_when_it_is_touched_no_more(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 8)
    assert todo.open()
    claim = todo.folder / "00000.0.claim"
    claim.write_text(json.dumps({"machine": "elsewhere", "process": os.getpid(), "born": "1"}))
    with Claims(todo) as claims:
        for _ in range(3):
            assert claims.take() is None
            time.sleep(0.03)
        assert not claims.over()
        old = time.time() - alive.STALE - 5
        os.utime(claim, (old, old))
        index = next_image(claims)
        assert index is not None
        assert claim_files(todo) == {"00000.0.claim", "00000.1.claim"}
        with Claims(todo) as other:  # the newest generation counts
            assert other.take() is None
    assert claim_files(todo) == {"00000.0.claim"}


def test_a_half_written_claim_is_a_live_one_until_it_is_old(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 8)
    todo.open()
    for foreign in ("._00000.done", ".nfs0000017", "notes"):
        (todo.folder / foreign).write_text("of the storage")
    claim = todo.folder / "00000.0.claim"
    claim.write_text("")
    with Claims(todo) as claims:
        assert claims.take() is None
        os.utime(claim, (0, 0))
        assert next_image(claims) is not None


def test_claims_are_kept_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "BEAT", 0.02)
    todo = listed(tmp_path / "seeds", 8)
    with Claims(todo) as claims:
        claims.take()
        (claim,) = todo.folder.glob("*.claim")
        os.utime(claim, (0, 0))
        end = time.monotonic() + 20
        while claim.stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert abs(time.time() - claim.stat().st_mtime) < 20


def test_who_leaves_early_lets_go(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 30)
    with pytest.raises(KeyboardInterrupt), Claims(todo) as claims:
        claims.take()
        assert len(claim_files(todo)) == 1
        raise KeyboardInterrupt
    assert claim_files(todo) == set()
    assert len(work_off(todo)) == 30


def test_a_helper_begins_no_list_and_leaves_one_that_is_gone(tmp_path: Path) -> None:
    todo = listed(tmp_path / "seeds", 30)
    helper = WorkList(todo.folder, todo.paths, "key", begin=False)
    assert work_off(helper) == []
    assert not todo.folder.exists()
    with Claims(todo) as holder:
        holder.take()
        with Claims(helper) as claims:
            index = claims.take()
            assert index is not None
            todo.clear()
            todo.paths[index].write_text("late")
            claims.finish(index)
            assert next_image(claims) is not None  # what it had claimed it makes
            time.sleep(0.03)
            while (index := claims.take()) is not None:
                claims.finish(index)
            assert claims.over()
        assert not todo.folder.exists()
        assert len(work_off(todo)) == 29  # the holder's list is there again as long as something is missing
