from __future__ import annotations

import pytest
import torch
from torch import nn

from deft.engine.optimise import Adam, AdamW, ParamGroup, Sgd


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
