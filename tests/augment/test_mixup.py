"""Mixup blends images and labels with one weight and one permutation, drawn from the generator alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from deft.augment.mixup import Mixup, beta, blend
from deft.contracts import InputError, LayerAugmentation
from fakes import rng


def batch(n: int = 6, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, size, size, generator=rng), (torch.rand(n, 4, generator=rng) < 0.5).float()


def test_every_pixel_and_label_is_the_same_blend_with_the_partner() -> None:
    x, labels = batch()
    mixed, soft = Mixup(alpha=1.0)(x, labels, rng())
    again = rng()
    weight, perm = beta(1.0, again), torch.randperm(6, generator=again).tolist()
    assert 0.05 < weight < 0.95
    for i, j in enumerate(perm):
        assert torch.allclose(mixed[i], weight * x[i] + (1 - weight) * x[j])
        assert torch.allclose(soft[i], weight * labels[i] + (1 - weight) * labels[j])


def test_what_comes_in_is_not_written_to_and_the_batchs_sum_stays() -> None:
    x, labels = batch()
    before = x.clone(), labels.clone()
    mixed, soft = Mixup(alpha=1.0)(x, labels, rng())
    assert torch.equal(x, before[0]) and torch.equal(labels, before[1])
    assert torch.allclose(mixed.sum(0), x.sum(0), atol=1e-5)
    assert torch.allclose(soft.sum(0), labels.sum(0), atol=1e-5)
    assert soft.min() >= 0 and soft.max() <= 1


def test_blended_labels_are_the_blend_of_the_losses() -> None:
    _, labels = batch()
    logits = torch.randn(6, 4, generator=rng(3))
    perm = torch.tensor([3, 4, 5, 0, 1, 2])
    loss = F.binary_cross_entropy_with_logits
    soft = loss(logits, 0.3 * labels + 0.7 * labels[perm])
    assert torch.allclose(soft, 0.3 * loss(logits, labels) + 0.7 * loss(logits, labels[perm]))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_weights_have_the_moments_of_the_beta_distribution(alpha: float) -> None:
    source = rng()
    drawn = torch.tensor([beta(alpha, source) for _ in range(2000)])
    assert abs(float(drawn.mean()) - 0.5) < 0.03
    assert abs(float(drawn.var()) - 1 / (4 * (2 * alpha + 1))) < 0.015
    assert drawn.min() >= 0 and drawn.max() <= 1


def test_chance_comes_from_the_generator_only() -> None:
    x, labels = batch()
    torch.manual_seed(0)
    first = Mixup()(x, labels, rng(5))
    torch.manual_seed(1)
    second, other = Mixup()(x, labels, rng(5)), Mixup()(x, labels, rng(6))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_a_gradient_reaches_both_partners() -> None:
    x, labels = batch()
    x.requires_grad_(True)
    blend(x, labels, 2.0, rng())[0].square().sum().backward()
    assert x.grad is not None
    assert bool((x.grad.flatten(1).abs().sum(1) > 0).all())


def test_it_says_nothing_of_layers() -> None:
    assert not isinstance(Mixup(), LayerAugmentation)
    x, labels = batch(n=1)
    assert torch.allclose(Mixup()(x, labels, rng())[0], x)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_no_beta_distribution_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match=r"^\w+\.alpha: expected a number above 0"):
        Mixup(alpha=alpha)
