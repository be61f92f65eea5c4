from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from deft import __version__
from deft.cli import datasets
from deft.cli.main import main


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The message of a command that is refused."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


def test_help_needs_no_torch() -> None:
    code = """
import contextlib, io, sys, deft.cli.main
for words in (["--help"], ["run", "--help"], ["predict", "--help"], ["--version"]):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        deft.cli.main.main(words)
    print(said.getvalue().splitlines()[0])
print("torch" in sys.modules)
"""
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    *first, torch = done.stdout.splitlines()
    assert [line.split(" [")[0] for line in first] == [
        "usage: deft",
        "usage: deft run",
        "usage: deft predict",
        f"deft {__version__}",
    ]
    assert torch == "False"


def test_missing_weights_are_told_before_the_run(
    capsys: pytest.CaptureFixture[str], folder_data: Path, tmp_path: Path
) -> None:
    words = ["run", "cam", "--data", f"folder:{folder_data}", "--out", str(tmp_path / "r"), "--weights", "nowhere.pth"]
    assert "nowhere.pth" in told(capsys, *words)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "fulder:x",
            "unknown kind of data 'fulder' in 'fulder:x' (nearest: 'folder'); use one of folder, voc, coco, "
            "yolo, labelme, labelstudio, cvat, openimages, imagefolder, datasets, demo, "
            "or a Python file of yours as in my_data.py:Birds?root=photos",
        ),
        (
            "folder:/nowhere",
            "folder:/nowhere: expected a folder, /nowhere does not exist (looked in /); correct the path",
        ),
        (
            "photos",
            "expected KIND:PATH with KIND one of folder, voc, coco, yolo, labelme, labelstudio, cvat, "
            "openimages, imagefolder, datasets, demo, or a Python file of yours as in "
            "my_data.py:Birds?root=photos, got 'photos'; write folder:photos",
        ),
        (
            "demo:bias=7",
            "demo: expected bias from 0.0 to 1.0, got 7.0; for example demo:bias=0.8,train=600,val=200,size=128,seed=0",
        ),
    ],
)
def test_wrong_data_is_told(capsys: pytest.CaptureFixture[str], data: str, message: str, tmp_path: Path) -> None:
    assert told(capsys, "run", "cam", "--data", data, "--out", str(tmp_path / "r")) == f"deft: {message}\n"
    assert not (tmp_path / "r").exists()


def test_check_lists_faults_and_exits_2(capsys: pytest.CaptureFixture[str], own_folder: Path) -> None:
    assert main(["check", f"folder:{own_folder}"]) == 0
    (own_folder / "images" / "img_00.png").write_bytes(b"no image")
    with (own_folder / "labels.csv").open("a") as file:
        file.write("img_99,cow\n")
    assert main(["check", f"folder:{own_folder}"]) == 2
    out = capsys.readouterr().out
    assert "img_00.png" in out
    assert "labels.csv:8" in out


def test_a_full_disk_and_ctrl_c_say_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(given: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x/seeds/a.npz")

    def stopped(given: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "check", full)
    message = told(capsys, "check", "demo:")
    assert "no space left" in message
    assert "Make room" in message
    monkeypatch.setattr(datasets, "check", stopped)
    assert main(["check", "folder:my photos"]) == 130
    assert "deft check 'folder:my photos'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "shown"), [(None, "Input/output error"), ("runs/x/a.npz", "runs/x/a.npz: Input")])
def test_a_disk_that_fails_is_one_message(
    name: str | None, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(given: object) -> int:
        raise OSError(errno.EIO, "Input/output error", name)

    monkeypatch.setattr(datasets, "check", failing)
    message = told(capsys, "check", "demo:")
    assert shown in message and "has failed: check it" in message and "Finished work is kept" in message


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")]
)
def test_lack_of_memory_anywhere_is_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def short(given: object) -> int:
        raise error

    monkeypatch.setattr(datasets, "check", short)
    message = told(capsys, "check", "demo:")
    assert "not enough memory" in message and "smaller --max-side" in message


def test_another_runtime_error_is_a_bug_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(given: object) -> int:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(datasets, "check", wrong)
    with pytest.raises(RuntimeError, match="shapes"):
        main(["check", "demo:"])


def test_ctrl_c_in_a_training_leaves_a_run_that_goes_on(folder_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deft", "run", "cam", "--data", f"folder:{folder_data}"]
    command += ["--out", str(tmp_path / "r"), "--backbone", "test_resnet", "--weights", "none"]
    command += ["--set", "classifier.plan.min_steps=100000", "--set", "classifier.plan.workers=0"]
    told = tmp_path / "stderr.txt"
    with told.open("w") as stderr:
        # A shell starts background jobs with the signal ignored, and children inherit that.
        listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(command, stderr=stderr, preexec_fn=listen)
        deadline = time.monotonic() + 600  # a busy machine takes minutes to import torch
        while "step/s" not in told.read_text():  # the training is under way
            assert process.poll() is None and time.monotonic() < deadline, told.read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=600) == 130
    assert "To resume, repeat the same command" in told.read_text()
    assert "Traceback" not in told.read_text()
