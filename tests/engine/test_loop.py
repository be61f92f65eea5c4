"""What :mod:`tests.engine.test_fit` does not reach: parts found by several processes, and moments laid out anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deft.artifacts import write_json
from deft.engine import ranks
from deft.engine.fit import fit
from deft.engine.loop import PARTS, Loop, _restore
from deft.engine.optimise import ParamGroup, Sgd
from deft.engine.plan import Plan, TrainingError

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


def test_parts_that_another_start_needed_are_used_from_the_first_step(tmp_path: Path) -> None:
    write_json(tmp_path / PARTS, 2)
    network = Filter()
    fit(network, Images(), PLAN, folder=tmp_path)
    assert network.seen == [2, 2, 2]
    assert not (tmp_path / PARTS).exists()


def test_a_process_among_several_leaves_word_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(Filter(), PLAN, Images(), 0, tmp_path / "checkpoint.safetensors", "training", None)
    loop.optimiser = torch.optim.SGD(loop.trainee.parameters(), lr=0.1)
    monkeypatch.setattr(ranks, "world", lambda: 2)
    with pytest.raises(TrainingError, match="same command to go on with 1 of 2 images at a time"):
        loop._halve("of 2 GiB")
    assert (tmp_path / PARTS).read_text().strip() == "2"


def test_moments_are_laid_out_as_their_weights() -> None:
    layer = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimiser = Sgd(lr=0.1, momentum=0.9).build([ParamGroup([layer.weight, layer.bias])])
    moments = {"optimiser.0.momentum_buffer": torch.rand(4, 3, 3, 3), "optimiser.1.momentum_buffer": torch.rand(4)}
    _restore(optimiser, moments)
    kept = optimiser.state[layer.weight]["momentum_buffer"]
    assert torch.equal(kept, moments["optimiser.0.momentum_buffer"])
    assert kept.stride() == layer.weight.stride()
