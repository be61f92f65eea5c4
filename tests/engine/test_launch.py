from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from deft.backbone import build_backbone
from deft.contracts import InputError
from deft.engine.launch import launched, number_from, start, started_here
from processes import LOOPBACK, PATIENCE

PLANS = {"classifier": ("min_steps=12", "batch=4"), "refine": ("min_steps=4", "batch=2"), "segment": ("min_steps=4",)}


def command(data: Path, out: Path, weights: Path, *more: str) -> list[str]:
    """A tiny run, with trained weights so that batch norm is frozen."""
    words = [sys.executable, "-m", "deft", "run", "irn_deft", "--data", f"folder:{data}", "--out", str(out)]
    words += ["--backbone", "test_resnet", "--weights", str(weights), "--precision", "32"]
    settings = [f"{part}.plan.{item}" for part, items in PLANS.items() for item in (*items, "epochs=1", "workers=0")]
    settings += ["classifier.head.swap_epoch=1", "segment.plan.batch=4", "segment.channels=16"]
    settings += ["refine.labels.fg=0.02", "refine.labels.bg=0.01", "refine.labels.crf.iterations=0", "refine.steps=16"]
    settings += ["seeds.scales=(1.0,)", "inference.scales=(1.0,)", "inference.flip=false"]
    return [*words, *(word for setting in settings for word in ("--set", setting)), *more]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    torch.manual_seed(0)
    save_file({key: value.contiguous() for key, value in build_backbone("test_resnet").net.state_dict().items()}, path)
    return path


ALONE = {**os.environ, "OMP_NUM_THREADS": "1", **LOOPBACK}


@pytest.mark.slow
def test_two_processes_make_what_one_makes(folder_data: Path, weights: Path, tmp_path: Path) -> None:
    for devices in ("1", "2"):
        words = command(folder_data, tmp_path / devices, weights, "--devices", devices)
        done = subprocess.run(words, capture_output=True, text=True, env=ALONE, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("report:") == 1
    one, two = (load_file(tmp_path / devices / "classifier" / "model.safetensors") for devices in ("1", "2"))
    assert max(float((one[key].float() - two[key].float()).abs().max()) for key in one) < 1e-5
    names = [
        sorted(str(path.relative_to(tmp_path / devices)) for path in (tmp_path / devices).rglob("*") if path.is_file())
        for devices in ("1", "2")
    ]
    assert names[0] == names[1]


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_is_named(folder_data: Path, weights: Path, tmp_path: Path) -> None:
    long = ("--devices", "2", "--set", "classifier.plan.min_steps=100000")
    words = command(folder_data, tmp_path / "run", weights, *long)
    run = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ALONE)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "run" / "classifier" / "stage.json").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.2)
    killed = time.monotonic()
    os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
    _, said = run.communicate(timeout=PATIENCE)
    assert time.monotonic() - killed < 300  # the others would wait for it for two hours
    assert run.returncode == 128 + signal.SIGKILL
    assert "was killed by signal 9" in said
    assert "Repeat the same command to resume" in said


def test_who_started_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert not launched()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert not launched()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    assert launched()


def test_several_machines_have_to_know_where_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "host")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    monkeypatch.delenv("NODE_RANK", raising=False)
    with pytest.raises(InputError, match="found no MASTER_PORT, NODE_RANK"):
        start(["run"], 1, 2)


@pytest.mark.parametrize("name", ["SLURM_STEP_NUM_TASKS", "LOCAL_WORLD_SIZE", "NODE_RANK"])
@pytest.mark.parametrize("text", ["", "two", "1.5", "-1", "9" * 40, "1(x2)"])
def test_junk_in_the_environment_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(InputError, match=f"the environment variable {name}: expected a whole number from 0 to .*, got"):
        number_from(name, 1)
    monkeypatch.setenv(name, " 3 ")
    assert number_from(name, 1) == 3
    monkeypatch.delenv(name)
    assert number_from(name, 1) == 1


def test_more_processes_than_the_machine_can_run_are_refused() -> None:
    with pytest.raises(InputError, match=r"--devices 100000: expected at most \d+, (one per GPU|four per core)"):
        start([], 100_000, 1)


@pytest.mark.parametrize(("run", "ours"), [("deft", True), ("deft-0b1c", True), ("none", False), (None, False)])
def test_our_own_agent_is_told_from_torchruns(run: str | None, ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if run is None:
        monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    else:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run)
    assert started_here() == ours
