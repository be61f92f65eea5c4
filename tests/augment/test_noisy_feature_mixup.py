"""Noisy Feature Mixup is Manifold Mixup, and noise of two kinds."""

from __future__ import annotations

import pytest
import torch

from deft.augment.manifold_mixup import ManifoldMixup
from deft.augment.noisy_feature_mixup import NoisyFeatureMixup
from deft.contracts import InputError, LayerAugmentation
from fakes import rng


def test_without_noise_it_is_manifold_mixup() -> None:
    x, labels = torch.randn(5, 7, 4, 4, generator=rng(1)), torch.eye(5)
    found, soft = NoisyFeatureMixup(alpha=1.5, additive=0, multiplicative=0)(x, labels, rng(2))
    expected, also = ManifoldMixup(alpha=1.5)(x, labels, rng(2))
    assert torch.equal(found, expected) and torch.equal(soft, also)


def test_noise_has_the_levels_that_were_set() -> None:
    zeros, ones, labels = torch.zeros(4, 3, 64, 64), torch.ones(4, 3, 64, 64), torch.eye(4)
    added, factors = [], []
    for seed in range(200):
        small = slice(0, 1), slice(0, 1)
        added.append(NoisyFeatureMixup(multiplicative=0)(zeros[small], labels[:1], rng(seed))[0].std())
        factor = NoisyFeatureMixup(additive=0)(ones[small], labels[:1], rng(seed))[0] - 1
        factors.append(factor.abs().max())
        assert factor.abs().max() <= 0.2 and abs(factor.mean()) < 0.01
    assert float(torch.stack(added).mean()) == pytest.approx(0.4 * 2 / 7, rel=0.1)  # the mean of Beta(2, 5) is 2/7
    assert float(torch.stack(factors).mean()) == pytest.approx(0.2 * 2 / 7, rel=0.1)
    # A level of its own for each kind, from seed to seed: the standard deviation of Beta(2, 5) is 0.16.
    levels = torch.stack([torch.stack(added) / 0.4, torch.stack(factors) / 0.2])
    assert levels.std(dim=1).tolist() == pytest.approx([0.16, 0.16], rel=0.15)
    assert abs(float(torch.corrcoef(levels)[0, 1])) < 0.25


def test_the_blend_is_multiplied_and_the_noise_is_added_to_the_product() -> None:
    x, labels = torch.randn(4, 3, 64, 64, generator=rng(1)), torch.eye(4)
    blended, soft = ManifoldMixup(alpha=1.0)(x, labels, rng(2))
    factor, _ = NoisyFeatureMixup(additive=0)(torch.ones_like(x), labels, rng(2))
    noise, _ = NoisyFeatureMixup(multiplicative=0)(torch.zeros_like(x), labels, rng(2))
    found, also = NoisyFeatureMixup()(x, labels, rng(2))
    torch.testing.assert_close(found, blended * factor + noise)
    assert torch.equal(also, soft)
    assert factor.mean() == pytest.approx(1, abs=1e-2) and noise.mean() == pytest.approx(0, abs=1e-2)
    for values, kurtosis in ((factor - 1, 9 / 5), (noise, 3)):  # of uniform and of normal numbers
        assert float(values.pow(4).mean() / values.square().mean() ** 2) == pytest.approx(kurtosis, rel=0.05)
    assert abs(float(torch.corrcoef(torch.stack([factor.flatten(), noise.flatten()]))[0, 1])) < 0.02


def test_chance_comes_from_the_generator_only_and_the_type_stays() -> None:
    x, labels = torch.randn(3, 4, 5, 5, generator=rng(1)), torch.eye(3)
    torch.manual_seed(0)
    first = NoisyFeatureMixup()(x, labels, rng(3))
    torch.manual_seed(1)
    again = NoisyFeatureMixup()(x.contiguous(memory_format=torch.channels_last), labels, rng(3))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], NoisyFeatureMixup()(x, labels, rng(4))[0])
    assert NoisyFeatureMixup()(x.bfloat16(), labels, rng(3))[0].dtype == torch.bfloat16


def test_layers_are_drawn_and_checked() -> None:
    assert isinstance(NoisyFeatureMixup(), LayerAugmentation)
    assert {NoisyFeatureMixup().layer(5, rng(seed)) for seed in range(30)} == {0, 2, 3}
    with pytest.raises(InputError, match=r"^NoisyFeatureMixup's layers are \(6,\), but the backbone has 5"):
        NoisyFeatureMixup(layers=(6,)).layer(5, rng())
    with pytest.raises(InputError, match=r"^NoisyFeatureMixup\.multiplicative: expected a number from 0 to 1"):
        NoisyFeatureMixup(multiplicative=1.5)
