from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deft.refine import lattice
from deft.refine.lattice import build_lattice


def slow_lattice_filter(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Permutohedral filter, point by point with a dictionary; features (N, d), values (N, L)."""
    points, dims = features.shape
    basis = np.zeros((dims + 1, dims))
    for axis in range(dims):  # rows sum to zero: the hyperplane's axes, as in Adams et al., Eq. (2) and (3)
        basis[: axis + 1, axis] = 1
        basis[axis + 1, axis] = -(axis + 1)
        basis[:, axis] *= math.sqrt(2 / 3) * (dims + 1) / math.sqrt((axis + 1) * (axis + 2))
    table: dict[tuple[int, ...], np.ndarray] = {}
    simplices = []
    for point in range(points):
        elevated = basis @ features[point]
        best = np.rint(elevated / (dims + 1)).astype(int) * (dims + 1)
        order = np.argsort(-(elevated - best), kind="stable")
        excess = best.sum() // (dims + 1)
        for place in order[len(order) - excess :] if excess > 0 else order[: -excess or 0]:
            best[place] -= (dims + 1) * int(np.sign(excess))
        order = np.argsort(-(elevated - best), kind="stable")
        ranked = (elevated - best)[order] / (dims + 1)
        corners = []
        for remainder in range(dims + 1):
            key = best + remainder
            key[order[dims + 1 - remainder :]] -= dims + 1
            weight = (
                1 - (ranked[0] - ranked[-1])
                if remainder == 0
                else ranked[dims - remainder] - ranked[dims + 1 - remainder]
            )
            assert key.sum() == 0
            corners.append((tuple(int(k) for k in key), weight))
        assert sum(weight for _, weight in corners) == pytest.approx(1)
        simplices.append(corners)
        for key, weight in corners:
            table[key] = table.get(key, np.zeros(values.shape[1])) + weight * values[point]
    for axis in range(dims + 1):
        step = np.ones(dims + 1, dtype=int)
        step[axis] = -dims
        nothing = np.zeros(values.shape[1])
        table = {
            key: value
            + 0.5 * table.get(tuple(int(k) for k in np.array(key) + step), nothing)
            + 0.5 * table.get(tuple(int(k) for k in np.array(key) - step), nothing)
            for key, value in table.items()
        }
    return np.array([sum(weight * table[key] for key, weight in corners) for corners in simplices]) / (1 + 2.0**-dims)


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_filter_equals_a_loop_over_points(dims: int) -> None:
    rng = np.random.default_rng(dims)
    features, values = rng.normal(0, 1.5, (60, dims)), rng.random((60, 3))
    fast = build_lattice(torch.from_numpy(features.T).float()).filter(torch.from_numpy(values).float())
    np.testing.assert_allclose(fast.numpy(), slow_lattice_filter(features, values), rtol=1e-4, atol=1e-5)


def test_filter_is_close_to_the_gaussian_sum() -> None:
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(30.0), indexing="ij")
    features = torch.stack([columns.flatten(), rows.flatten()]) / 3
    values = torch.rand(24 * 30, 2, generator=torch.Generator().manual_seed(0))
    kernel = (-torch.cdist(features.T, features.T).square() / 2).exp()
    ratio = build_lattice(features).filter(values) / (kernel @ values)
    assert (ratio / ratio.mean() - 1).abs().max() < 0.15  # a common factor goes with the normalisation


@pytest.mark.parametrize("room", [1000, 2**61])
def test_sort_returns_sorted_keys_and_their_indices(room: int) -> None:
    keys = torch.randint(0, 1000, (500,), generator=torch.Generator().manual_seed(3)) * (room // 1000)
    ordered, order = lattice._sort(keys, room)
    torch.testing.assert_close(ordered, keys.sort().values)
    torch.testing.assert_close(keys[order], ordered)
    torch.testing.assert_close(order.sort().values, torch.arange(500))
