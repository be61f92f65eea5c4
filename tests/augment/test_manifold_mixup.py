"""Manifold Mixup is Mixup at a layer that the generator chooses among those it was given."""

from __future__ import annotations

import pytest
import torch

from deft.augment.manifold_mixup import ManifoldMixup
from deft.augment.mixup import Mixup
from deft.contracts import InputError, LayerAugmentation
from fakes import rng


def test_what_it_does_to_a_batch_is_mixup() -> None:
    features, labels = torch.randn(5, 7, 4, 4, generator=rng(1)), torch.eye(5)
    ours, soft = ManifoldMixup(alpha=1.5)(features, labels, rng(2))
    theirs, also_soft = Mixup(alpha=1.5)(features, labels, rng(2))
    assert torch.equal(ours, theirs)
    assert torch.equal(soft, also_soft)


def test_layers_are_drawn_equally_often() -> None:
    assert isinstance(ManifoldMixup(), LayerAugmentation)
    source = rng()
    drawn = [ManifoldMixup().layer(5, source) for _ in range(600)]
    assert set(drawn) == {0, 2, 3}
    assert all(150 < drawn.count(layer) < 250 for layer in (0, 2, 3))


def test_layers_that_the_network_has_not_are_told_whatever_is_drawn() -> None:
    for seed in range(5):
        with pytest.raises(InputError, match=r"\(0, 6\).*has 5 feature maps.*from 0 .* to 5"):
            ManifoldMixup(layers=(0, 6)).layer(5, rng(seed))
    assert ManifoldMixup(layers=(5,)).layer(5, rng()) == 5


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"got \(\)"):
        ManifoldMixup(layers=())
    with pytest.raises(InputError, match=r"got \(-1,\)"):
        ManifoldMixup(layers=(-1,))
    with pytest.raises(InputError, match=r"^ManifoldMixup\.alpha: expected a number above 0"):
        ManifoldMixup(alpha=0)
