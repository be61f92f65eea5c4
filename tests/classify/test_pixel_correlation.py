"""Blocks of affinities give the values and gradients of all of them at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deft.classify import pixel_correlation
from deft.classify.pixel_correlation import correlated
from deft.engine.footprint import peak_of
from fakes import rng


def whole(maps: Tensor, features: Tensor) -> Tensor:
    """The formula with N x N affinities."""
    cells = F.normalize(features.flatten(2), dim=1)
    affinity = torch.relu(cells.transpose(1, 2) @ cells)
    affinity = affinity / (affinity.sum(dim=1, keepdim=True) + 1e-5)
    return (maps.flatten(2) @ affinity).reshape(maps.shape)


def test_values_against_a_loop() -> None:
    maps, features = torch.rand(2, 3, 2, 3, generator=rng(1)), torch.randn(2, 4, 2, 3, generator=rng(2))
    found = correlated(maps, features)
    for n in range(2):
        z, m = features[n].flatten(1), maps[n].flatten(1)
        for j in range(6):
            shares = [max(0.0, float(F.cosine_similarity(z[:, i], z[:, j], dim=0))) for i in range(6)]
            for k in range(3):
                mean = sum(share * float(m[k, i]) for i, share in enumerate(shares)) / (sum(shares) + 1e-5)
                assert float(found[n, k, j // 3, j % 3]) == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("block", [2**22, 2 * 35 * 35, 4 * 35, 1])  # all, two images, four cells, one cell at a time
def test_values_and_gradients_against_all_affinities(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_correlation, "BLOCK", block)
    monkeypatch.setattr(pixel_correlation, "LEAST", 1)
    maps, features = torch.rand(3, 4, 5, 7, generator=rng(1)), torch.randn(3, 6, 5, 7, generator=rng(2))
    weights = torch.randn(3, 4, 5, 7, generator=rng(3))
    results = []
    for function in (correlated, whole):
        given, values = features.clone().requires_grad_(True), maps.clone().requires_grad_(True)
        found = function(values, given)
        (found * weights).sum().backward()
        results.append((found.detach(), given.grad))
        assert function is whole or values.grad is None
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-4)


def test_a_map_stays_within_its_range_and_a_constant_one_as_it_is() -> None:
    features = torch.randn(1, 6, 5, 7, generator=rng(2))
    maps = torch.rand(1, 2, 5, 7, generator=rng(1))
    maps[:, 1] = 0.5
    found = correlated(maps, features)
    torch.testing.assert_close(found[:, 1], maps[:, 1], atol=1e-4, rtol=0)
    assert float(maps[:, 0].min()) <= float(found[:, 0].min()) + 1e-4
    assert float(found[:, 0].max()) <= float(maps[:, 0].max())
    torch.testing.assert_close(correlated(maps, 5 * features), found)  # only directions count


def test_memory_is_that_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, features = torch.rand(1, 2, 40, 40, generator=rng(1)), torch.randn(1, 4, 40, 40, generator=rng(2))
    features.requires_grad_(True)
    peaks = []
    monkeypatch.setattr(pixel_correlation, "LEAST", 16)
    for function, block in ((whole, 0), (correlated, 2**14)):
        monkeypatch.setattr(pixel_correlation, "BLOCK", block)
        peaks.append(peak_of(lambda function=function: function(maps, features).sum().backward()))  # type: ignore[misc]
    assert peaks[0] > 2 * 1600 * 1600 * 4
    assert peaks[1] < 1_000_000
