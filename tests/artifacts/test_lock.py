from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from deft.artifacts import (
    InUseError,
    RunFolder,
    claim,
)
from deft.contracts import InputError


def test_a_claim_is_held_by_one(tmp_path: Path) -> None:
    with claim(tmp_path / "a.lock"), pytest.raises(InUseError, match="in use by process"), claim(tmp_path / "a.lock"):
        pass
    with claim(tmp_path / "a.lock"):
        pass


def test_a_second_process_is_refused_and_the_first_unharmed(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", {"a": 1})
    code = "from deft.artifacts import RunFolder\nfrom pathlib import Path\n"
    code += f"RunFolder(Path({str(tmp_path / 'run')!r}), {{'a': 1}})"
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert f"in use by process {os.getpid()}" in second.stderr
    first.close()
    third = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr


def test_a_forked_reader_does_not_hold_the_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", {})
    told, tell = os.pipe()
    begun, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin, b".")
        os.read(told, 1)
        os._exit(0)
    try:
        os.read(begun, 1)
        with pytest.raises(InUseError, match=f"in use by process {os.getpid()} "):
            RunFolder(tmp_path / "run", {})
        run.close()
        second = RunFolder(tmp_path / "run", {})
        with pytest.raises(InUseError, match=f"in use by process {os.getpid()} "):
            RunFolder(tmp_path / "run", {})
        second.close()
    finally:
        os.write(tell, b".")
        os.waitpid(child, 0)


HOLD = """
import errno, os, sys, time
from pathlib import Path
from deft.artifacts import RunFolder
if sys.argv[2] == "soft":
    import fcntl
    def refuse(*given):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock = refuse
run = RunFolder(Path(sys.argv[1]), {})
if sys.argv[2] == "forked":
    told, tell = os.pipe()
    if os.fork() == 0:
        os.write(tell, b".")  # it runs, and has let go of what it inherited
        time.sleep(60)
    os.read(told, 1)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def holder(folder: Path, way: str) -> subprocess.Popen[str]:
    """A process that holds a run folder, in a session of its own with what it forks."""
    command = [sys.executable, "-c", HOLD, str(folder), way]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{process.pid}\n"
    return process


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage that has no locks, for this process."""

    def refuse(*given: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.parametrize("way", ["alone", "forked"])
def test_a_killed_process_holds_nothing_nor_does_what_it_forked(tmp_path: Path, way: str) -> None:
    process = holder(tmp_path / "run", way)
    try:
        with pytest.raises(InUseError, match=f"in use by process {process.pid} on "):
            RunFolder(tmp_path / "run", {})
        process.kill()
        process.wait()
        RunFolder(tmp_path / "run", {}).close()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it forked
        process.communicate()


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    with claim(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"


@pytest.mark.usefixtures("no_locks")
def test_storage_without_locks_gets_a_file_that_a_killed_process_leaves_for_the_next(tmp_path: Path) -> None:
    process = holder(tmp_path / "run", "soft")
    try:
        with pytest.raises(InUseError, match=f"in use by process {process.pid} on .*lock.held$"):
            RunFolder(tmp_path / "run", {})
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "run" / "lock.held").exists()
    run = RunFolder(tmp_path / "run", {"a": 1})  # the killed run made nothing, so that the folder is free
    with pytest.raises(InUseError, match=f"in use by process {os.getpid()} on "):
        RunFolder(tmp_path / "run", {"a": 1})
    run.close()
    assert not (tmp_path / "run" / "lock.held").exists()


@pytest.mark.usefixtures("no_locks")
def test_a_file_that_a_process_of_another_machine_left_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock.held").write_text("12\nelsewhere\n")
    with pytest.raises(InUseError, match=r"in use by process 12 on elsewhere; .* remove .*lock\.held"):
        RunFolder(tmp_path, {})
    (tmp_path / "lock.held").unlink()
    RunFolder(tmp_path, {}).close()


def test_a_fault_of_the_disk_is_not_taken_for_a_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", broken)
    with pytest.raises(OSError, match="Input/output"), claim(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("content", ["my notes", "processes 1 and 2", "x" * 5000])
def test_a_lock_that_is_somebodys_file_is_not_emptied(content: str, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(content)
    with pytest.raises(InputError, match="expected a lock of deft, got a file with other content"):
        RunFolder(tmp_path, {})
    assert (tmp_path / "lock").read_text() == content


def test_a_pipe_is_no_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(InputError, match="got a named pipe"):
        RunFolder(tmp_path, {})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("name", ["lock", "lock.held"])
@pytest.mark.parametrize(("odd", "told"), [(os.mkfifo, "got a named pipe"), (os.mkdir, "got a folder")])
def test_what_stands_where_a_lock_belongs_is_told_without_waiting(
    name: str, odd: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    odd(tmp_path / name)
    with pytest.raises(InputError, match=told), claim(tmp_path / "lock"):
        pass
