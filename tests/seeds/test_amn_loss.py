from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.seeds.amn_loss import balanced_losses, smoothed_cross_entropy


def slow(logits: Tensor, mask: Tensor, smoothing: float) -> dict[str, float]:
    """Cell by cell, as the formula is written."""
    planes = logits.shape[1]
    found: dict[str, list[float]] = {"background": [], "objects": []}
    for n, row, column in torch.cartesian_prod(*(torch.arange(side) for side in mask.shape)).tolist():
        value = int(mask[n, row, column])
        if value == 255:
            continue
        scores = logits[n, :, row, column].tolist()
        total = sum(math.exp(score) for score in scores)
        loss = 0.0
        for plane, score in enumerate(scores):
            weight = 1 - smoothing if plane == value else smoothing / (planes - 1)
            loss -= weight * math.log(math.exp(score) / total)
        found["objects" if value else "background"].append(loss)
    return {kind: sum(losses) / len(losses) / 2 if losses else 0.0 for kind, losses in found.items()}


def case(values: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.tensor(values)[torch.randint(len(values), (2, 5, 7), generator=rng)]
    return torch.randn(2, 4, 5, 7, generator=rng), chosen


@pytest.mark.parametrize("smoothing", [0.0, 0.4])
@pytest.mark.parametrize("values", [[0, 1, 2, 3, 255], [0, 255], [2, 3, 255], [0], [1]])
def test_losses_are_those_of_the_formula(values: list[int], smoothing: float) -> None:
    logits, mask = case(values)
    expected = slow(logits, mask, smoothing)
    assert {name: float(term) for name, term in balanced_losses(logits, mask, smoothing).items()} == pytest.approx(
        expected, abs=1e-5
    )


def test_without_smoothing_it_is_cross_entropy_and_with_it_torchs_at_another_share() -> None:
    """torch spreads its share over all classes, own included; AMN over the others."""
    logits, mask = case([0, 1, 2, 3])
    assert torch.allclose(smoothed_cross_entropy(logits, mask, 0.0), F.cross_entropy(logits, mask, reduction="none"))
    theirs = F.cross_entropy(logits, mask, reduction="none", label_smoothing=0.3 * 4 / 3)
    assert torch.allclose(smoothed_cross_entropy(logits, mask, 0.3), theirs, atol=1e-5)


@pytest.mark.parametrize("values", [[255], [0], [1, 2]])
def test_a_missing_kind_adds_nothing_and_gradients_stay_finite(values: list[int]) -> None:
    logits, mask = case(values)
    logits.requires_grad_(True)
    terms = balanced_losses(logits, mask, 0.4)
    sum(terms.values(), torch.zeros(())).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert bool(terms["background"] == 0) == (0 not in values)
    assert bool(terms["objects"] == 0) == (not {1, 2} & set(values))


def test_losses_are_added_up_in_single_precision_whatever_the_network_computes_in() -> None:
    logits, mask = case([0, 1, 2, 3, 255])
    expected = balanced_losses(logits, mask, 0.4)
    with torch.autocast("cpu", torch.bfloat16):
        assert balanced_losses(logits, mask, 0.4) == expected


def test_neither_unsure_cells_nor_repeated_ones_change_a_mean() -> None:
    logits, mask = case([0, 1, 255])
    wider = torch.cat([logits, logits], dim=-1)
    plain = balanced_losses(logits, mask, 0.4)
    unsure = balanced_losses(wider, torch.cat([mask, torch.full_like(mask, 255)], dim=-1), 0.4)
    twice = balanced_losses(wider, torch.cat([mask, torch.where(mask == 0, 0, 255)], dim=-1), 0.4)
    for name, term in plain.items():
        assert torch.allclose(unsure[name], term)
        assert torch.allclose(twice[name], term)
