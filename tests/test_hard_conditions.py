"""Small, shared and odd machines: each command works there, or says in one message what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest
import torch

from deft.artifacts import RunFolder, read_json
from deft.artifacts.lock import InUseError, claim
from deft.cli.main import main
from deft.engine import reading, workers
from deft.engine.plan import Plan
from deft.engine.reading import reader
from deft.engine.stop import ending_on_signals, interrupts_held

START = "import sys; from deft.cli.main import main; sys.exit(main(sys.argv[1:]))"
CONDITIONS = {
    "one core": "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
    "64 open files": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "2 GB of memory": "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2 * 10**9, 2 * 10**9))",
    "no home": "import os; os.environ.pop('HOME', None)",
    "a home that is not there": "import os; os.environ['HOME'] = '/proc/nothing/home'",
    "no entry for the user": """
import os, pwd
def nobody(number):
    raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = nobody
for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
    os.environ.pop(name, None)
""",
    "a folder for temporary files that is not there": "import os; os.environ['TMPDIR'] = '/proc/nothing'",
    "storage without locks or links": """
import errno, fcntl, os
def refuse(*given, **more):
    raise OSError(errno.ENOTSUP, "Operation not supported")
fcntl.flock = fcntl.lockf = os.link = refuse
""",
}
"""What is done to a Python process before it imports anything of ours."""
TOGETHER = (
    ("one core", "64 open files", "no home", "no entry for the user"),
    ("2 GB of memory", "a home that is not there", "a folder for temporary files that is not there"),
    ("storage without locks or links", "no home"),
)


def command(data: Path, out: Path) -> list[str]:
    words = ["run", "cam", "--data", f"folder:{data}", "--out", str(out), "--backbone", "test_resnet"]
    words += ["--weights", "none", "--precision", "32", "--threads", "1", "--set", "segment=none"]
    plan = [f"classifier.plan.{item}" for item in ("epochs=1", "min_steps=3", "batch=4", "workers=2")]
    return [*words, *(word for setting in plan for word in ("--set", setting))]


def start(conditions: Sequence[str], *words: str) -> subprocess.CompletedProcess[str]:
    code = "\n".join([*(CONDITIONS[name] for name in conditions), START])
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are set as on Linux")
@pytest.mark.parametrize("conditions", TOGETHER, ids=", ".join)
def test_a_run_works(conditions: tuple[str, ...], folder_data: Path, tmp_path: Path) -> None:
    done = start(conditions, *command(folder_data, tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").exists()
    few = "0 loader processes instead of 2: 64 files may be open" in done.stderr
    assert few == ("64 open files" in conditions)
    soft = "the storage has no locks; lock.held holds the folder instead" in done.stderr
    assert soft == ("storage without locks or links" in conditions)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "cam", "--data", "folder:~/photos", "--out", "OUT"], "~ stands for your home folder"),
        (["check", "coco:~someone-unknown/photos"], "~ stands for your home folder"),
    ],
)
def test_a_home_that_nobody_knows_is_one_message(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert main([str(tmp_path / "run") if word == "OUT" else word for word in words]) == 2
    said = capsys.readouterr().err
    assert message in said and "set HOME" in said and "Traceback" not in said


def test_no_folder_for_temporary_files_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*given: object, **more: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp']")

    monkeypatch.setattr(import_module("deft.data.check"), "look_at", none)
    assert main(["check", f"folder:{tmp_path}"]) == 2
    assert "no folder for temporary files can be written to; set TMPDIR to one" in capsys.readouterr().err


class Pictures:
    """Examples of 0.75 MB each."""

    def __len__(self) -> int:
        return 6

    def example(self, index: int, rng: object) -> dict[str, torch.Tensor]:
        return {"image": torch.full((3, 256, 256), float(index)), "labels": torch.zeros(3)}

    def name(self, index: int) -> str:
        return str(index)


@pytest.mark.parametrize(
    ("free", "number"), [(1_000_000, 0), (64_000_000, 2), (6_000_000, 0), (6_500_000, 1), (20_000_000, 2)]
)
def test_little_shared_memory_takes_fewer_loader_processes(
    free: int, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "shared_bytes", lambda: free)
    plan = Plan(epochs=1, min_steps=3, batch=2, workers=2)
    assert reader(Pictures(), plan, 0, range(3)).num_workers == number
    said = capsys.readouterr().err
    if number == 2:
        assert said == ""
    else:
        assert f"{number} loader processes instead of 2: /dev/shm has {free / 1e6:,.0f} MB free" in said


def test_fewer_loader_processes_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    for free in (0, 10**12):
        monkeypatch.setattr(workers, "shared_bytes", lambda free=free: free)
        with reading.batches_of(reader(Pictures(), Plan(1, 3, 2, workers=1), 0, range(3))) as batches:
            read.append([batch["index"].tolist() for batch in batches])
    assert read[0] == read[1]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_storage_without_locks_says_so_and_still_holds(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*given: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claim(tmp_path / "lock"):
        assert (tmp_path / "lock.held").exists()
        with pytest.raises(InUseError, match=f"in use by process {os.getpid()} on "), claim(tmp_path / "lock"):
            pass
    assert "the storage has no locks; lock.held holds the folder instead" in capsys.readouterr().err
    assert not (tmp_path / "lock.held").exists()


def _refused(*given: object, **more: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def _unsupported(*given: object, **more: object) -> None:
    raise OSError(errno.ENOTSUP, "Operation not supported")


def _unknown(*given: object, **more: object) -> None:
    raise NotImplementedError("link: this system has none")


@pytest.mark.parametrize("link", [_refused, _unsupported, _unknown, None])
def test_storage_without_hard_links_copies(
    link: Callable[..., None] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if link is None:
        monkeypatch.delattr(os, "link")
    else:
        monkeypatch.setattr(os, "link", link)
    one, other = RunFolder(tmp_path / "one", {"a": 1}), RunFolder(tmp_path / "other", {"a": 1})
    stage = one.stage("seeds", "key")
    with stage.making():
        (stage.folder / "a.npz").write_bytes(b"maps")
    taken = other.stage("seeds", "key")
    assert taken.adopt((tmp_path / "one",))
    assert taken.done and (taken.folder / "a.npz").read_bytes() == b"maps"
    assert not os.path.samefile(taken.folder / "a.npz", stage.folder / "a.npz")
    assert read_json(taken.folder / "stage.json")["key"] == "key"
    one.close()
    other.close()


def test_a_program_that_keeps_signals_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise ValueError("signal only works in main thread of the main interpreter")

    monkeypatch.setattr("signal.signal", refuse)
    done = []
    with ending_on_signals(lambda: None), interrupts_held():
        done.append(1)
    assert done == [1]
