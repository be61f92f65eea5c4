"""The choice of a number of parts before the first step, by trainings of a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deft.artifacts import load_tensors, read_json, write_json
from deft.engine import division
from deft.engine import plan as settings
from deft.engine.budget import AUTO, Budget, GigaBytes
from deft.engine.fit import fit
from deft.engine.footprint import SLACK, SPARE
from deft.engine.loop import PARTS, Loop
from deft.engine.optimise import ParamGroup, Sgd
from deft.engine.parts import in_parts
from deft.engine.plan import Plan

PLAN = Plan(epochs=1, min_steps=4, batch=8, optimiser=Sgd(lr=0.05, momentum=0.9), workers=0)
SIDE = 64
MAP = 4 * 8 * SIDE * SIDE
"""Bytes of one of the network's maps."""
SMALL, LARGE = round(SPARE + SLACK * 40 * MAP), 10**10
"""Bytes for a few images at a time, and for all of them."""


class Layers(nn.Module):
    """A network with dropout, and with batch norms if it is asked for them."""

    parts = 1

    def __init__(self, norms: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(3, 8, 1)
        self.norm = nn.BatchNorm2d(8) if norms else nn.Identity()
        self.drop = nn.Dropout(0.2)
        self.seen: list[int] = []
        self.fails_at = 99

    def layers(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.first(x)))
        for _ in range(6):
            x = x.sin()
        return x.mean(dim=(1, 2, 3))

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        if len(self.seen) == self.fails_at:
            raise ValueError("killed")
        self.seen.append(self.parts)
        made = in_parts(self.layers, batch["image"], self.parts)
        return {"fit": (made + torch.rand(1, generator=rng)).square().mean()}

    def groups(self) -> list[ParamGroup]:
        return [ParamGroup(list(self.parameters()))]


class Noise:
    def __len__(self) -> int:
        return 8

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        return {"image": torch.from_numpy(rng.random((3, SIDE, SIDE), dtype=np.float32))}

    def name(self, index: int) -> str:
        return str(index)


def trained(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: int | None,
    *,
    network: Layers | None = None,
    memory: GigaBytes = AUTO,
) -> Layers:
    """A network trained where so many bytes are free."""
    room = None if free is None else Budget(free, "available")
    monkeypatch.setattr(division, "budget", lambda asked, device: room)
    network = network or Layers()
    folder.mkdir(exist_ok=True)
    fit(network, Noise(), PLAN, folder=folder, memory=memory)
    return network


def test_a_batch_is_divided_where_memory_is_short_to_the_same_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained(tmp_path / "whole", monkeypatch, LARGE, network=without_dropout())
    assert whole.seen == [1, 1, 1, 1]
    assert "training: batches of 8 in one part; a step needs about 0.3 of 10.0 GB available" in capsys.readouterr().err
    divided = trained(tmp_path / "divided", monkeypatch, SMALL, network=without_dropout())
    assert len(divided.seen) == 4 and set(divided.seen) <= {2, 3, 4}
    size = -(-8 // divided.parts)
    said = capsys.readouterr().err
    assert f"training: {size} of 8 images at a time, and the same batch of 8 for each step: all at once would" in said
    assert "with 0.3 GB available" in said and "batch norms" not in said
    for one, two in zip(whole.parameters(), divided.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def without_dropout(norms: bool = False) -> Layers:
    network = Layers(norms)
    network.drop = nn.Dropout(0.0)
    return network


@pytest.mark.parametrize("norms", [False, True])
def test_measuring_changes_no_byte_of_a_training(norms: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = trained(tmp_path / "measured", monkeypatch, LARGE, network=Layers(norms))
    monkeypatch.setattr(division, "_measured", lambda *_: pytest.fail("measured"))
    unknown = trained(tmp_path / "unknown", monkeypatch, None, network=Layers(norms))
    assert measured.seen == unknown.seen == [1, 1, 1, 1]
    for name, value in unknown.state_dict().items():
        assert torch.equal(measured.state_dict()[name], value), name


def test_random_numbers_go_on_as_if_nothing_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = Layers(norms=True), {"image": torch.rand(4, 3, SIDE, SIDE), "index": torch.arange(4)}
    monkeypatch.setattr(division, "budget", lambda asked, device: Budget(SMALL, "available"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    division.choose_parts(network, batch, epoch=1, asked=AUTO, ahead=0, precision=torch.enable_grad, title="training")
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert network.seen == [] and network.parts == 1
    assert all(parameter.grad is None for parameter in network.parameters())


def test_batch_norms_that_are_trained_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    divided = trained(tmp_path / "divided", monkeypatch, SMALL, network=Layers(norms=True))
    assert divided.parts > 1
    assert "; batch norms that are trained see these images only, which changes results" in capsys.readouterr().err


@pytest.mark.parametrize("free", [0, 1000, SPARE])
def test_where_not_even_one_image_fits_it_is_tried_one_by_one_with_a_warning(
    free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(tmp_path, monkeypatch, free).seen == [8, 8, 8, 8]
    assert "training: one image at a time, which needs about 0.3 GB, with " in capsys.readouterr().err


@pytest.mark.parametrize("step", [0, 2])  # before and after the first checkpoint
@pytest.mark.parametrize(("first", "second"), [(SMALL, LARGE), (LARGE, SMALL)])
def test_a_resumed_training_keeps_its_parts(
    step: int, first: int, second: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "CHECKPOINT_SECONDS", 0.0)
    whole = trained(tmp_path / "whole", monkeypatch, first)
    killed = Layers()
    killed.fails_at = step
    monkeypatch.setattr(division, "_measured", patient(division._measured))
    with pytest.raises(ValueError, match="killed"):
        trained(tmp_path / "stopped", monkeypatch, first, network=killed)
    resumed = trained(tmp_path / "stopped", monkeypatch, second)
    assert resumed.seen == whole.seen[step:]
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert not (tmp_path / "stopped" / PARTS).exists()


def patient(real: object) -> object:
    """Measure a network that is to fail in its training only."""

    def measured(trainee: Layers, *rest: object) -> object:
        fails_at, trainee.fails_at = trainee.fails_at, 99
        try:
            return real(trainee, *rest)  # type: ignore[operator]
        finally:
            trainee.fails_at = fails_at

    return measured


def test_for_another_memory_the_parts_are_chosen_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / PARTS, {"parts": 8, "memory": 2.0})
    assert trained(tmp_path, monkeypatch, LARGE, memory=2.0).seen == [8, 8, 8, 8]
    header = load_tensors(tmp_path / "checkpoint.safetensors")[1]
    assert (header["parts"], header["memory"]) == (8, 2.0)
    (tmp_path / "checkpoint.safetensors").unlink()
    write_json(tmp_path / PARTS, {"parts": 8, "memory": 2.0})
    assert trained(tmp_path, monkeypatch, LARGE, memory=3.0).seen == [1, 1, 1, 1]


def test_the_choice_is_stored_beside_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "budget", lambda asked, device: Budget(SMALL, "available"))
    loop = Loop(Layers(), PLAN, Noise(), 0, tmp_path / "checkpoint.safetensors", "training", None)
    batch = {"image": torch.rand(8, 3, SIDE, SIDE), "index": torch.arange(8)}
    loop._divide(batch, ahead=0)
    assert loop.trainee.parts > 1
    assert read_json(tmp_path / PARTS) == {"parts": loop.trainee.parts, "memory": "auto"}


class Lacking(Layers):
    """Runs out of memory with any image."""

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        raise MemoryError


class Single(Layers):
    """Cannot compute fewer images than a batch has."""

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        if len(batch["image"]) < 8:
            raise ValueError("expected 8 images")
        return super().terms(batch, epoch, rng)


def test_one_image_that_does_not_fit_is_left_to_the_training_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(settings.TrainingError, match="one image at a time does not fit into memory"):
        trained(tmp_path, monkeypatch, LARGE, network=Lacking())


def test_a_network_that_cannot_be_measured_is_trained_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(tmp_path, monkeypatch, SMALL, network=Single()).seen == [1, 1, 1, 1]
    said = capsys.readouterr().err
    assert "training: the memory of a step could not be measured (expected 8 images)" in said
