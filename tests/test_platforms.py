"""What Windows and macOS lack is not needed: played on whatever system the tests run on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed
from safetensors.torch import load_file

from deft.cli.main import main
from deft.contracts import InputError
from deft.data.layouts.shards import shard_paths
from deft.engine import launch, ranks

BARE = """
import os, sys
import jinja2, jsonargparse, lightning_fabric, matplotlib.figure, numpy, PIL.Image, safetensors.torch, timm, torch, tqdm
import segmentation_models_pytorch
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "getuid", "killpg", "register_at_fork", "sched_getaffinity", "set_blocking", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
"""
"""A Python that lacks what it lacks on Windows, from where the packages that deft stands on are imported."""

BARER = (
    """
try:
    import errno, fcntl
except ImportError:
    pass
else:
    def no_lock(*given):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = fcntl.lockf = no_lock
"""
    + BARE
    + """
import builtins, io, signal
real, low, install = open, os.open, signal.signal
def hidden(path):
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc", "/sys"))
def opened(path, *given, **more):
    if hidden(path):
        raise FileNotFoundError(2, "No such file or directory", path)
    return real(path, *given, **more)
def opened_low(path, *given, **more):
    if hidden(path):
        raise FileNotFoundError(2, "No such file or directory", path)
    return low(path, *given, **more)
def no_signal(*given):
    raise ValueError("signal only works in main thread of the main interpreter")
def no_link(*given, **more):
    raise OSError(1, "Operation not permitted")
builtins.open = io.open = opened
os.open, os.link, signal.signal = opened_low, no_link, no_signal
os.environ.pop("LOGNAME", None)
os.environ.pop("OMP_NUM_THREADS", None)
"""
)
"""One that also has no file locks, no hard links, no /proc, no signal handlers and no names of users."""

ROAD = """
from deft.cli.main import main
from deft.stages import make
data, out, photographs, masks, *words = sys.argv[1:]
assert main(["check", data]) == 0
real_masks = make.make_masks
def stop(*given):
    raise KeyboardInterrupt
make.make_masks = stop
assert main(["run", "cam", "--data", data, "--out", out, *words]) == 130
make.make_masks = real_masks
assert main(["run", "cam", "--data", data, "--out", out, *words]) == 0
assert main(["run", "cam", "--data", data, "--out", out + "-2", "--reuse", out, *words]) == 0
assert main(["predict", out, photographs, "--out", masks]) == 0
assert main(["verify", out]) == 0
"""
"""The main road: check, a run that is stopped and resumed, one that takes its stages over, and predictions."""

IMPORT_ALL = """
import importlib, pkgutil
import deft
for module in pkgutil.walk_packages(deft.__path__, "deft."):
    importlib.import_module(module.name)
    print(module.name)
"""

SPAWN = """
import multiprocessing, sys
multiprocessing.set_start_method("spawn")
from deft.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""Processes that read begin anew instead of as a fork, as on macOS and Windows."""


def command(data: Path, out: Path, workers: int) -> list[str]:
    words = ["run", "cam", "--data", f"folder:{data}", "--out", str(out), "--backbone", "test_resnet"]
    words += ["--weights", "none", "--precision", "32", "--set", "segment=none", "--set", "classifier.plan.epochs=1"]
    words += ["--set", "classifier.plan.min_steps=3", "--set", "classifier.plan.batch=4"]
    return [*words, "--set", f"classifier.plan.workers={workers}"]


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def test_every_module_can_be_imported_without_what_only_unix_has() -> None:
    done = python(BARE + IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert {"deft.cli.main", "deft.pipeline", "deft.artifacts.folder", "deft.engine.loop"} <= set(done.stdout.split())


@pytest.mark.slow
def test_a_run_goes_through_without_what_only_unix_has(folder_data: Path, tmp_path: Path) -> None:
    code = BARE + "from deft.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    words = command(folder_data, tmp_path / "run", workers=0)
    done = python(code, *words)
    assert done.returncode == 0, done.stderr
    assert f"report: {tmp_path / 'run' / 'report.html'}" in done.stdout
    assert python(code, *words).returncode == 0  # the folder is free again


@pytest.mark.slow
def test_the_main_road_needs_no_more_than_any_system_has(folder_data: Path, tmp_path: Path) -> None:
    words = command(folder_data, tmp_path / "run", workers=0)
    words = words[words.index("--backbone") :]
    words[words.index("segment=none")] = "segment.channels=16"
    for setting in ("plan.epochs=1", "plan.min_steps=2", "plan.batch=2", "plan.workers=0"):
        words += ["--set", f"segment.{setting}"]
    words += ["--set", "inference.scales=(1.0,)", "--set", "inference.flip=false"]
    places = (f"folder:{folder_data}", tmp_path / "run", folder_data / "images", tmp_path / "masks")
    done = python(BARER + ROAD, *map(str, places), *words)
    assert done.returncode == 0, done.stderr
    assert "the storage has no locks; lock.held holds the folder instead" in done.stderr
    assert f"report: {tmp_path / 'run' / 'report.html'}" in done.stdout
    assert len(list((tmp_path / "masks" / "masks").iterdir())) == 12
    assert not (tmp_path / "run" / "lock.held").exists()


@pytest.mark.slow
def test_readers_that_begin_anew_read_the_same(folder_data: Path, tmp_path: Path) -> None:
    done = python(SPAWN, *command(folder_data, tmp_path / "1", workers=1))
    assert done.returncode == 0, done.stderr
    assert main(command(folder_data, tmp_path / "0", workers=0)) == 0
    alone, beside = (load_file(tmp_path / str(workers) / "classifier" / "model.safetensors") for workers in (0, 1))
    assert alone.keys() == beside.keys()
    assert all(torch.equal(alone[name], beside[name]) for name in alone)


def test_a_drive_is_not_taken_for_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("C:photos.tar").write_bytes(b"")
    assert shard_paths("shards:C:photos.tar") == [Path("C:photos.tar")]
    with pytest.raises(InputError, match="URLs and commands are not supported"):
        shard_paths("shards:s3:photos.tar")


def test_a_torch_that_cannot_distribute_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    monkeypatch.delattr(torch.distributed, "is_initialized")
    assert (ranks.rank(), ranks.world(), launch.processes_of_this_machine()) == (0, 1, 1)
    launch.leave()
    for begin in (launch.join, lambda: launch.start(["run"], 2, 1)):
        with pytest.raises(InputError, match=r"no torch\.distributed; run one process"):
            begin()


def test_a_name_that_a_pipe_cannot_show_is_escaped(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    data = make_folder(tmp_path / "猫", count=6, side=16)
    with (data / "labels.csv").open("a", encoding="utf-8") as file:
        file.write("img_99,cow\n")
    words = [sys.executable, "-m", "deft", "check", f"folder:{data}"]
    done = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=False)
    assert done.returncode == 2, done.stderr
    assert b"\\u732b" in done.stdout
