"""The process that makes rounds: the same files as the command, also after a kill, and an end with whoever began it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.artifacts import RunFolder, read_json
from deft.artifacts.lock import claim
from deft.artifacts.review import CORRECTED, Decision, Review
from deft.cli.main import main
from deft.contracts import InputError
from deft.recipes import frozen
from deft.review import learner
from deft.review.learning import _PROGRAM, Learning
from deft.review.serve import opened
from deft.runner import quick as runner
from deft.runner.quick import next_round, quick
from short import tiny

PIPELINE = tiny(frozen(), "precision=32-true", "corrections.held_out=0.0")
NOT_RESULTS = ("lock", "report.html", "contents.json", "made.json", "stage.json")
"""Files with times, or with digests of such files."""


@dataclass(frozen=True)
class Rounds:
    """An answer with one corrected mask, and the same one after the command was repeated."""

    data: Path
    reviewed: Path
    repeated: Path

    def copy(self, to: Path) -> Path:
        return Path(shutil.copytree(self.reviewed, to / "1"))


@pytest.fixture(scope="module")
def rounds(make_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    root = tmp_path_factory.mktemp("learner")
    data = make_folder(root / "data", count=8, side=64)
    quick(PIPELINE, f"folder:{data}", root / "reviewed", "frozen")
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[16:48, 16:48] = 1
    run = root / "reviewed" / "1"
    Review(run, ("cat", "cow", "dog")).write_all([Decision("img_01", CORRECTED, mask)])
    shutil.copytree(root / "reviewed", root / "repeated")
    quick(PIPELINE, f"folder:{data}", root / "repeated", "frozen")
    return Rounds(data, run, root / "repeated" / "1")


def results(run: Path) -> dict[str, bytes]:
    """The bytes of every file that a run has made."""
    found = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if path.name not in NOT_RESULTS and not name.startswith("review/") and ".part-" not in name
    }


def keys(run: Path) -> dict[str, Any]:
    return {path.parent.name: read_json(path)["key"] for path in run.glob("*/stage.json")}


def until(found: Callable[[], Any], seconds: float = 200) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


@pytest.mark.slow
def test_a_press_makes_what_the_command_makes_and_goes_on_after_a_kill(rounds: Rounds, tmp_path: Path) -> None:
    run = rounds.copy(tmp_path)
    assert results(run) != results(rounds.repeated)
    with closing(Learning(opened(run))) as learning:
        learning.begin()
        process = learning._process
        assert process is not None
        until(lambda: learning.state().get("stage") == "segment")
        process.kill()
        until(lambda: not learning.state()["learning"])
        assert "has ended" in learning.state()["result"]["error"]
        assert learning.session.details(0)["layers"][-1] == "network"
        learning.begin()
        until(lambda: not learning.state()["learning"])
        assert learning.state()["result"]["learned"] == {"images": 1, "rejected": 0}
        with claim(run / "lock"):
            pass
    assert results(run) == results(rounds.repeated)
    assert keys(run) == keys(rounds.repeated)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_it_ends_with_the_server_however_that_ends(rounds: Rounds, tmp_path: Path) -> None:
    run = rounds.copy(tmp_path)
    serve = (
        "import json, sys; from pathlib import Path; from deft.review.learning import Learning; "
        "from deft.review.serve import opened; learning = Learning(opened(Path(sys.argv[1]))); learning.begin(); "
        "print(learning._process.pid, flush=True); "
        "[print(json.dumps(learning.state()), flush=True) for _ in iter(lambda: __import__('time').sleep(0.02), 1)]"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", serve, run], stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        number = int(server.stdout.readline())
        for line in server.stdout:
            if json.loads(line).get("stage") == "segment":
                server.send_signal(signal.SIGKILL)
                break
        else:
            raise AssertionError("it never came to the network")
    until(lambda: not alive(number), 20)
    next_round(run)
    assert results(run) == results(rounds.repeated)


def alive(number: int) -> bool:
    """Whether a process works still; one that nobody has waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except FileNotFoundError:
        return False


def test_it_speaks_lines_and_ends_with_its_input(tmp_path: Path) -> None:
    # What is printed is no answer.
    light = "import deft.review.learner as learner; learner.prepare = lambda run: print(run); "
    light += "learner.answer = lambda run, data, tell: tell({'stage': data}) or {'error': str(run)}; "
    program = _PROGRAM.replace("from deft.review.learner", light + "from deft.review.learner")
    command = [sys.executable, "-c", program, str(tmp_path), *sys.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"ready": True}
        process.stdin.write(json.dumps({"run": "photos \udcff", "data": "demo:"}) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"stage": "demo:"}
        assert json.loads(process.stdout.readline()) == {"error": "photos \udcff"}
        process.stdin.close()
        assert process.stdout.read() == ""
        process.wait(20)


def error(run: Path, data: Path) -> str:
    found = learner.answer(run, f"folder:{data}", lambda said: None)
    assert set(found) == {"error"} and "\n" not in found["error"]
    return str(found["error"])


def test_what_stops_a_round_is_one_line(rounds: Rounds, tmp_path: Path) -> None:
    run = rounds.copy(tmp_path)
    before = results(run)
    assert str(tmp_path / "gone") in error(run, tmp_path / "gone")
    folder = RunFolder(run, read_json(run / "run.json"))
    try:
        assert f"in use by process {os.getpid()}" in error(run, rounds.data)
    finally:
        folder.close()
    data = Path(shutil.copytree(rounds.data, tmp_path / "data"))
    (data / "labels.csv").write_text((data / "labels.csv").read_text().replace("img_00,cat", "img_00,cat;dog"))
    assert "repeat the deft quick command" in error(run, data)
    assert results(run) == before


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (MemoryError(), "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device", "seeds"), "No space left on device (seeds)"),
        (InputError("two\nlines"), "two lines"),
        (KeyError("odd"), "an error of deft (KeyError)"),
    ],
)
def test_errors_are_one_line(
    raised: Exception, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any
) -> None:
    def fails(*given: object) -> None:
        raise raised

    monkeypatch.setattr(runner, "next_round", fails)
    assert said in error(tmp_path, tmp_path)
    assert ("Traceback" in capfd.readouterr().err) == isinstance(raised, KeyError)


def test_the_next_round_is_that_of_the_command(rounds: Rounds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is asked of ``run`` is what ``deft quick`` asks, also for an answer behind another one."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runner, "run", lambda *given, **more: asked.append((given, more)) or tmp_path)
    for number in ("1", "2"):
        shutil.copytree(rounds.reviewed, tmp_path / number)
    next_round(tmp_path / "2")
    (pipeline, data, folder), more = asked[0]
    assert (data, folder) == (f"folder:{rounds.data}", tmp_path / "2")
    assert (more["reuse"], more["name"], pipeline.weights) == ([tmp_path / "1"], "frozen", "none")
    assert pipeline.frozen == PIPELINE.frozen and pipeline.segment == PIPELINE.segment
    next_round(tmp_path / "2", "folder:elsewhere")
    assert asked[1][0][1] == "folder:elsewhere"
    assert main(["quick", f"folder:{rounds.data}", "--out", str(tmp_path), "--weights", "none"]) == 0
    assert asked[2][1]["reuse"] == more["reuse"]
