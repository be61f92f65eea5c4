from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from deft.contracts import InputError
from deft.engine.optimise import Adam, AdamW, ParamGroup, Sgd, built


def test_poly_is_the_published_rule() -> None:
    assert [Sgd().factor(step, 10) for step in (0, 5, 9)] == pytest.approx([1, 0.5**0.9, 0.1**0.9])


def test_adamw_rises_then_falls() -> None:
    factors = [AdamW(warmup=0.1).factor(step, 100) for step in range(100)]
    assert factors[9] == 1
    assert factors[:10] == sorted(factors[:10])
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert factors[-1] < 0.01


def test_adam_keeps_its_rate_unless_told_otherwise() -> None:
    assert [Adam().factor(step, 10) for step in (0, 5, 9)] == [1, 1, 1]
    assert [Adam(power=0.9).factor(step, 10) for step in (0, 5, 9)] == [Sgd().factor(step, 10) for step in (0, 5, 9)]


@pytest.mark.parametrize("preset", [Sgd(lr=0.1), AdamW(lr=0.1), Adam(lr=0.1)])
def test_groups_get_their_multiple_and_frozen_weights_are_left_out(preset: Sgd | AdamW | Adam) -> None:
    old, new, frozen = (nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen.requires_grad_(False)
    optimiser = preset.build([ParamGroup([old, frozen]), ParamGroup([new], 10.0, decay=False), ParamGroup([frozen])])
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.1, 1.0])
    assert [len(group["params"]) for group in optimiser.param_groups] == [1, 1]
    assert optimiser.param_groups[1]["weight_decay"] == 0


@pytest.mark.parametrize("preset", [Sgd(lr=0.1), AdamW(lr=0.1), Adam(lr=0.1)])
def test_a_training_knows_the_scale_of_each_group(preset: Sgd | AdamW | Adam) -> None:
    one, two = (nn.Parameter(torch.ones(2)) for _ in range(2))
    groups = [ParamGroup([one]), ParamGroup([two], 10.0)]
    assert [group["scale"] for group in built(preset, groups).param_groups] == [1.0, 10.0]


@dataclass(frozen=True)
class Own:
    """As a user writes it, with what torch knows alone."""

    lr: float = 0.2
    plain: bool = False

    def build(self, groups: list[ParamGroup]) -> Any:
        if self.plain:
            return torch.optim.SGD([weight for group in groups for weight in group.params], lr=self.lr)
        return torch.optim.SGD([{"params": group.params, "lr": self.lr * group.lr} for group in groups], lr=self.lr)

    def factor(self, step: int, steps: int) -> float:
        return 1.0


def test_the_scale_of_an_optimiser_of_ones_own_follows_from_its_rates() -> None:
    one, two = (nn.Parameter(torch.ones(2)) for _ in range(2))
    groups = [ParamGroup([one]), ParamGroup([two], 10.0)]
    assert [group["scale"] for group in built(Own(), groups).param_groups] == pytest.approx([1.0, 10.0])
    assert [group["scale"] for group in built(Own(plain=True), groups).param_groups] == [1.0]


def test_what_builds_no_optimiser_is_told() -> None:
    class Wrong(Own):
        def build(self, groups: list[ParamGroup]) -> Any:
            return groups

    with pytest.raises(InputError, match=r"expected Wrong\.build to return a torch\.optim\.Optimizer, got list"):
        built(Wrong(), [])


def test_the_rate_falls_with_the_layers_above() -> None:
    """Against one group per parameter, written out."""
    parameters = [nn.Parameter(torch.full((3,), float(seed))) for seed in range(4)]
    new = nn.Parameter(torch.zeros(2))
    groups = [ParamGroup(parameters, 2.0, depths=(2, 1, 1, 0)), ParamGroup([new], 10.0)]
    found = built(AdamW(lr=0.01, layer_decay=0.5), groups).param_groups
    rates = {id(p): group["lr"] for group in found for p in group["params"]}
    assert [rates[id(p)] for p in (*parameters, new)] == pytest.approx([0.005, 0.01, 0.01, 0.02, 0.1])
    assert [group["scale"] for group in found] == pytest.approx([0.5, 1.0, 2.0, 10.0])
    plain = built(AdamW(lr=0.01), groups).param_groups
    assert [len(group["params"]) for group in plain] == [4, 1]


def test_weight_decay_spares_what_is_named_where_rates_fall() -> None:
    parameters = [nn.Parameter(torch.full((3,), float(seed))) for seed in range(4)]
    groups = [ParamGroup(parameters, depths=(1, 1, 0, 0), spared=(False, True, True, False))]
    found = built(AdamW(lr=0.01, decay=0.05, layer_decay=0.5), groups).param_groups
    decays = {id(p): (group["lr"], group["weight_decay"]) for group in found for p in group["params"]}
    assert [decays[id(p)] for p in parameters] == [(0.005, 0.05), (0.005, 0.0), (0.01, 0.0), (0.01, 0.05)]
    assert [group["weight_decay"] for group in built(AdamW(lr=0.01, decay=0.05), groups).param_groups] == [0.05]
