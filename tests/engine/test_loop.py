"""What :mod:`tests.engine.test_fit` does not reach: precisions, clipping, several processes, moments laid out anew.

Run as a program this file is one of two processes: ``test_loop.py FOLDER ROOM``.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deft.artifacts import load_tensors, read_json, save_tensors, write_json
from deft.engine import fabric, launch, ranks
from deft.engine import plan as settings
from deft.engine.fabric import Mixed
from deft.engine.fit import fit
from deft.engine.loop import PARTS, Loop, _restore
from deft.engine.optimise import ParamGroup, Sgd
from deft.engine.plan import Plan, TrainingError
from processes import free_port, run_together

PLAN = Plan(epochs=1, min_steps=3, batch=4, optimiser=Sgd(lr=0.01, momentum=0.9), workers=0)


class Filter(nn.Module):
    parts = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.seen: list[int] = []

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        self.seen.append(self.parts)
        return {"fit": self.layer(batch["image"]).square().mean()}

    def groups(self) -> list[ParamGroup]:
        return [ParamGroup(list(self.parameters()))]


class Images:
    def __len__(self) -> int:
        return 8

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        return {"image": torch.full((3, 8, 8), index / 8)}

    def name(self, index: int) -> str:
        return str(index)


def trained(network: Filter, folder: Path, plan: Plan = PLAN, precision: str = "32-true") -> Filter:
    folder.mkdir(exist_ok=True)
    fit(network, Images(), plan, folder=folder, precision=precision)
    return network


def new(kind: type[Filter] = Filter) -> Filter:
    torch.manual_seed(3)
    return kind()


def test_parts_that_another_start_needed_are_used_from_the_first_step(tmp_path: Path) -> None:
    write_json(tmp_path / PARTS, 2)
    network = trained(new(), tmp_path)
    assert network.seen == [2, 2, 2]
    assert not (tmp_path / PARTS).exists()


def test_a_process_among_several_leaves_word_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(Filter(), PLAN, Images(), 0, tmp_path / "checkpoint.safetensors", "training", None)
    monkeypatch.setattr(ranks, "world", lambda: 2)
    with pytest.raises(TrainingError, match="same command to continue with 1 of 2 images at a time"):
        loop._halve("of 2 GiB")
    assert read_json(tmp_path / PARTS) == {"parts": 2, "memory": "auto"}


def test_moments_are_laid_out_as_their_weights() -> None:
    layer = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimiser = Sgd(lr=0.1, momentum=0.9).build([ParamGroup([layer.weight, layer.bias])])
    moments = {"optimiser.0.momentum_buffer": torch.rand(4, 3, 3, 3), "optimiser.1.momentum_buffer": torch.rand(4)}
    _restore(optimiser, moments)
    kept = optimiser.state[layer.weight]["momentum_buffer"]
    assert torch.equal(kept, moments["optimiser.0.momentum_buffer"])
    assert kept.stride() == layer.weight.stride()


@pytest.mark.parametrize("clip", [0.01, 0.0])
def test_the_norm_of_all_gradients_together_is_clipped(tmp_path: Path, clip: float) -> None:
    before, plan = new(), Plan(1, 1, 8, Sgd(lr=1.0, momentum=0.0, decay=0.0), clip=clip, workers=0)
    after = trained(new(), tmp_path, plan)
    steps = [(a - b).detach() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    norm = float(torch.cat([step.flatten() for step in steps]).norm())
    assert norm == pytest.approx(clip, rel=1e-4) if clip else norm > 0.1


class Twice(Filter):
    """Uses its weights for one image after the other, and looks at what it is given."""

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        assert batch["image"].dtype == torch.float32
        made = [self.layer(image[None]) for image in batch["image"]]
        assert {part.dtype for part in made} == {torch.bfloat16}
        return {"fit": torch.stack([part.float().square().mean() for part in made]).sum()}


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])  # on a CPU the second is the first
def test_of_mixed_precision_inputs_and_sums_of_gradients_are_float32(tmp_path: Path, precision: str) -> None:
    plan = Plan(1, 1, 8, Sgd(lr=1.0, momentum=0.0, decay=0.0), clip=0.0, workers=0)
    after, alone = trained(new(Twice), tmp_path, plan, precision), new()
    total = torch.zeros_like(alone.layer.weight)
    for index in range(8):  # each image by itself: what one use of the weights gives
        alone.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            made = alone.layer(Images().example(index, np.random.default_rng())["image"][None])
        made.float().square().mean().backward()
        assert alone.layer.weight.grad is not None
        total += alone.layer.weight.grad
    step = (new().layer.weight - after.layer.weight).detach()
    assert float((step - total).abs().max()) < 1e-5 < 1e-3 * float(total.abs().max())  # bfloat16 rounds by 4e-3


class Steep(Filter):
    """Its gradients leave float16 until the scale of the loss has come down."""

    fails_at = 99

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        if len(self.seen) == self.fails_at:
            raise ValueError("killed")
        self.seen.append(self.parts)
        made = self.layer(batch["image"])
        assert made.dtype == torch.float16
        return {"fit": (made * 30).float().square().mean()}


def test_the_scale_of_float16_is_in_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fabric, "precision_of", lambda word, device: Mixed("16-mixed", "cpu"))
    plan = replace(PLAN, min_steps=20)
    whole = trained(new(Steep), tmp_path / "whole", plan, "16-mixed")
    assert not torch.equal(whole.layer.weight, new().layer.weight)
    scale = load_tensors(tmp_path / "whole" / "checkpoint.safetensors")[1]["scaler"]
    assert scale["scale"] < 65536  # what it begins with: some steps were skipped
    assert 0 < scale["_growth_tracker"] < 20  # and some were done
    monkeypatch.setattr(settings, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(Steep, "fails_at", 12)
    with pytest.raises(ValueError, match="killed"):
        trained(new(Steep), tmp_path / "stopped", plan, "16-mixed")
    monkeypatch.setattr(Steep, "fails_at", 99)
    resumed = trained(new(Steep), tmp_path / "stopped", plan, "16-mixed")
    assert len(resumed.seen) == 8
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
    assert load_tensors(tmp_path / "stopped" / "checkpoint.safetensors")[1]["scaler"] == scale


def test_a_process_alone_in_a_job_of_slurm_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"JOB_ID": "7", "JOB_NAME": "train", "NTASKS": "4", "PROCID": "3", "LOCALID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    inside = trained(new(), tmp_path / "inside")
    for name in ("JOB_ID", "JOB_NAME", "NTASKS", "PROCID", "LOCALID"):
        monkeypatch.delenv(f"SLURM_{name}")
    assert torch.equal(inside.layer.weight, trained(new(), tmp_path / "outside").layer.weight)


def test_ctrl_c_ends_it_and_signals_stay_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    inside: list[Any] = []

    def interrupted(self: Filter, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        inside.append((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)))
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    monkeypatch.setattr(Filter, "terms", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(new(), tmp_path)
    assert inside == [before]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


class Crowded(Filter):
    """As the second process it has memory for ``room`` images at a time, from its second step on."""

    room = 99

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        if ranks.rank() == 1 and self.seen and -(-len(batch["image"]) // self.parts) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().terms(batch, epoch, rng)


def both(starter: str, folder: Path, room: int) -> list[tuple[int, str]]:
    """Exit codes and errors of two processes that train together."""
    folder.mkdir(exist_ok=True)
    meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}

    def environment(rank: int) -> dict[str, str]:
        place = str(rank)
        if starter == "torchrun":
            own = {"RANK": place, "LOCAL_RANK": place, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            return meeting | own | {"TORCHELASTIC_RUN_ID": "test"}
        own = {"STEP_NUM_TASKS": "2", "STEP_NUM_NODES": "1", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NODEID": "0"}
        own |= {"PROCID": place, "LOCALID": place, "JOB_ID": "7", "JOB_NAME": "train"}
        return meeting | {f"SLURM_{name}": value for name, value in own.items()}

    return run_together(Path(__file__), folder, room, environment=environment)


@pytest.mark.slow
@pytest.mark.parametrize("starter", ["torchrun", "slurm"])
def test_two_processes_learn_what_one_learns(tmp_path: Path, starter: str) -> None:
    done = both(starter, tmp_path / "two", room=99)
    assert [code for code, _ in done] == [0, 0], done
    alone = trained(new(), tmp_path / "one").state_dict()
    two, header = load_tensors(tmp_path / "two" / "weights.safetensors")
    assert header["seen"] == [1, 1, 1]
    assert all(float((two[key] - value).abs().max()) < 1e-6 for key, value in alone.items())


@pytest.mark.slow
def test_where_one_of_two_runs_out_of_memory_the_next_start_takes_parts(tmp_path: Path) -> None:
    (_, _), (code, fault) = both("torchrun", tmp_path / "two", room=1)
    assert code == 1
    assert "same command to continue with 1 of 2 images at a time, to the same result" in fault
    done = both("torchrun", tmp_path / "two", room=1)
    assert [code for code, _ in done] == [0, 0], done
    alone = trained(new(), tmp_path / "one").state_dict()
    two, header = load_tensors(tmp_path / "two" / "weights.safetensors")
    assert header["seen"] == [2, 2, 2]
    assert all(float((two[key] - value).abs().max()) < 1e-6 for key, value in alone.items())


if __name__ == "__main__":
    launch.join()
    Crowded.room = int(sys.argv[2])
    learned = trained(new(Crowded), Path(sys.argv[1]))
    if ranks.first():
        save_tensors(Path(sys.argv[1]) / "weights.safetensors", learned.state_dict(), {"seen": learned.seen})
    launch.leave()
