from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deft.artifacts import load_tensors
from deft.contracts import InputError
from deft.engine import plan as module
from deft.engine.fit import fit, read_history
from deft.engine.optimise import Adam, AdamW, ParamGroup, Sgd
from deft.engine.plan import Plan, TrainingError
from deft.engine.stop import Stopped, ending_on_signals


class Line(nn.Module):
    """Learns a line through dropout, which is where hidden randomness would show."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.seen: list[list[int]] = []

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        self.seen.append([*batch["index"].tolist(), epoch])
        x = nn.functional.dropout(batch["x"], 0.3) + 0.01 * torch.rand(batch["x"].shape, generator=rng)
        return {"fit": (self.layer(x) - batch["y"]).square().mean()}

    def groups(self) -> list[ParamGroup]:
        return [ParamGroup(list(self.parameters()))]


class Points:
    def __len__(self) -> int:
        return 10

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        x = torch.from_numpy(np.random.default_rng(index).normal(size=4).astype(np.float32))
        return {"x": x + float(rng.normal()) * 0.01, "y": x.sum()[None]}

    def name(self, index: int) -> str:
        return f"photo {index}"


def trained(folder: Path, plan: Plan, seed: int = 0) -> tuple[Line, dict[str, list[tuple[int, float]]]]:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    line = Line()
    return line, fit(line, Points(), plan, folder=folder, seed=seed)


PLAN = Plan(epochs=4, min_steps=40, batch=4, optimiser=Sgd(lr=0.05, momentum=0.9), workers=0)


def test_training_learns_and_is_a_function_of_the_seed(tmp_path: Path) -> None:
    one, history = trained(tmp_path / "a", PLAN)
    two, _ = trained(tmp_path / "b", PLAN)
    other, _ = trained(tmp_path / "c", PLAN, seed=1)
    assert history["fit"][-1][1] < 0.5 * history["fit"][0][1]
    assert torch.equal(one.layer.weight, two.layer.weight)
    assert not torch.equal(one.layer.weight, other.layer.weight)
    assert read_history(tmp_path / "a") == history


def test_every_pass_reads_each_image_once_and_epochs_rise(tmp_path: Path) -> None:
    line, _ = trained(tmp_path, PLAN)
    indices = [index for row in line.seen for index in row[:-1]]
    assert len(line.seen) == 40
    assert all(sorted(indices[i : i + 10]) == list(range(10)) for i in range(0, 160, 10))
    epochs = [row[-1] for row in line.seen]
    assert epochs == sorted(epochs)
    assert set(epochs) == {1, 2, 3, 4}


@pytest.mark.parametrize("optimiser", [Sgd(lr=0.05, momentum=0.9), AdamW(lr=0.01), Adam(lr=0.01)])
def test_a_stopped_training_ends_at_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimiser: Sgd | AdamW | Adam
) -> None:
    plan = Plan(epochs=4, min_steps=40, batch=4, optimiser=optimiser, workers=0)
    whole, history = trained(tmp_path / "whole", plan)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    terms = Line.terms

    def killed(self: Line, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        if len(self.seen) == 27:
            raise RuntimeError("killed")
        return terms(self, batch, epoch, rng)

    monkeypatch.setattr(Line, "terms", killed)
    with pytest.raises(RuntimeError, match="killed"):
        trained(tmp_path / "stopped", plan)
    monkeypatch.setattr(Line, "terms", terms)
    resumed, again = trained(tmp_path / "stopped", plan)
    assert len(resumed.seen) == 13  # went on from step 27 of 40, the last that was done
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
    assert again == history


def test_workers_change_nothing(tmp_path: Path) -> None:
    alone, _ = trained(tmp_path / "a", PLAN)
    helped, _ = trained(tmp_path / "b", Plan(4, 40, 4, PLAN.optimiser, workers=2))
    assert torch.equal(alone.layer.weight, helped.layer.weight)


def test_a_loss_that_is_no_number_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = Line.terms

    def broken(self: Line, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        found = terms(self, batch, epoch, rng)
        return {"fit": found["fit"] * float("nan")} if len(self.seen) == 5 else found

    monkeypatch.setattr(Line, "terms", broken)
    with pytest.raises(TrainingError, match=r"finite loss at step 5, got fit nan on the images photo \d, photo"):
        trained(tmp_path, PLAN)
    assert not (tmp_path / "history.json").exists()


def test_weights_that_are_no_numbers_do_not_replace_good_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    terms = Line.terms

    def poisoned(self: Line, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        found = terms(self, batch, epoch, rng)
        if len(self.seen) == 8:  # the loss is a number, its gradient is not
            found["fit"] = found["fit"] + (self.layer.bias * 0).sum().sqrt()
        return found

    monkeypatch.setattr(Line, "terms", poisoned)
    with pytest.raises(TrainingError, match=r"finite weights after step 8, got layer"):
        trained(tmp_path, PLAN)
    kept, header = load_tensors(tmp_path / "checkpoint.safetensors")
    assert header["step"] == 7
    assert all(value.isfinite().all() for value in kept.values())


class Crowded(Line):
    """Has memory for a few images at a time."""

    room = 2

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        if -(-len(batch["x"]) // self.parts) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return {"fit": (self.layer(batch["x"]) - batch["y"]).square().mean()}


def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = replace(PLAN, batch=8)
    results = []
    for room in (8, 2):
        torch.manual_seed(3)
        line = Crowded()
        line.room = room
        folder = tmp_path / str(room)
        folder.mkdir()
        fit(line, Points(), plan, folder=folder)
        results.append(line)
    assert results[1].parts == 4
    assert "out of memory; continues with 2 of 8 images at a time, and the same batch of 8" in capsys.readouterr().err
    assert torch.equal(results[0].layer.weight, results[1].layer.weight)
    assert load_tensors(tmp_path / "2" / "checkpoint.safetensors")[1]["parts"] == 4


def test_one_image_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    line = Crowded()
    line.room = 0
    with pytest.raises(TrainingError, match="one image at a time does not fit into memory"):
        fit(line, Points(), PLAN, folder=tmp_path)


def test_sigterm_stops_between_two_steps_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, history = trained(tmp_path / "whole", PLAN)
    terms = Line.terms

    def signalled(self: Line, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        if len(self.seen) == 13:
            os.kill(os.getpid(), signal.SIGTERM)
        return terms(self, batch, epoch, rng)

    monkeypatch.setattr(Line, "terms", signalled)
    with pytest.raises(Stopped), ending_on_signals(lambda: None):
        trained(tmp_path / "stopped", PLAN)
    monkeypatch.setattr(Line, "terms", terms)
    assert load_tensors(tmp_path / "stopped" / "checkpoint.safetensors")[1]["step"] == 14
    resumed, again = trained(tmp_path / "stopped", PLAN)
    assert len(resumed.seen) == 26
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
    assert again == history


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "7",
        '{"a": 1}',
        '{"a": [1, 2]}',
        '{"a": [[1]]}',
        '{"a": [["x", 2]]}',
        '{"a": [[1.5, 2]]}',
        '{"a": [[1, {}]]}',
    ],
)
def test_edited_loss_curves_are_one_message(text: str, tmp_path: Path) -> None:
    assert read_history(tmp_path) == {}
    (tmp_path / "history.json").write_text('{"a": [[1, 2], [2, 0.5]]}')
    assert read_history(tmp_path) == {"a": [(1, 2.0), (2, 0.5)]}
    (tmp_path / "history.json").write_text(text)
    with pytest.raises(InputError, match=r"history\.json: expected .*; remove the file"):
        read_history(tmp_path)
