from __future__ import annotations

import pytest
import torch

from deft.refine.neighborhood import path
from deft.refine.random_walk import boundary_affinities, chebyshev_weights, random_walk
from references import dense_walk


@pytest.mark.parametrize(("size", "radius"), [((12, 15), 5), ((9, 4), 3), ((3, 14), 5)])
def test_result_equals_that_of_the_squared_dense_matrix(size: tuple[int, int], radius: int) -> None:
    rng = torch.Generator().manual_seed(0)
    edge = torch.rand(size, generator=rng) ** 2
    maps = torch.rand(2, *size, generator=rng)
    found = random_walk(maps, boundary_affinities(edge, radius), radius, beta=10, steps=2**8)

    def affinity(y: int, x: int, down: int, right: int) -> float:
        return 1 - max(float(edge[y + dy, x + dx]) for dy, dx in path((down, right)))

    expected = dense_walk(maps, affinity, radius, beta=10, squarings=8)
    assert ((found - expected).abs() / expected).max() < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3, 40, 41, 300])
def test_result_equals_that_of_single_steps(steps: int) -> None:
    rng = torch.Generator().manual_seed(2)
    affinities = boundary_affinities(torch.rand(7, 9, generator=rng) ** 2, 4)
    maps = torch.rand(2, 7, 9, generator=rng)
    expected = maps
    for _ in range(steps):
        expected = random_walk(expected, affinities, 4, beta=10, steps=1)
    found = random_walk(maps, affinities, 4, beta=10, steps=steps)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("error", [1e-2, 1e-4])
def test_a_larger_error_takes_fewer_products_and_is_not_exceeded(error: float) -> None:
    rng = torch.Generator().manual_seed(3)
    affinities = boundary_affinities(torch.rand(20, 16, generator=rng) ** 2, 4)
    maps = torch.rand(2, 20, 16, generator=rng)
    exact = random_walk(maps, affinities, 4, beta=10, steps=256)
    found = random_walk(maps, affinities, 4, beta=10, steps=256, error=error)
    assert 0 < float((found - exact).abs().max()) < error * float(maps.max())
    assert len(chebyshev_weights(256, error)) < 0.6 * len(chebyshev_weights(256))


def test_constant_maps_are_unchanged_and_values_stay_in_range() -> None:
    edge = torch.rand(11, 13, generator=torch.Generator().manual_seed(1))
    maps = torch.stack([torch.full((11, 13), 0.4), torch.rand(11, 13)])
    found = random_walk(maps, boundary_affinities(edge, 5), 5, beta=10, steps=64)
    torch.testing.assert_close(found[0], maps[0])
    assert maps[1].min() <= found[1].min() and found[1].max() <= maps[1].max()


def test_a_boundary_separates_maps() -> None:
    edge = torch.zeros(10, 20)
    edge[:, 10] = 1
    maps = torch.zeros(1, 10, 20)
    maps[0, 3:6, 2:5] = 1
    found = random_walk(maps, boundary_affinities(edge, 5), 5, beta=10, steps=256)[0]
    assert found[:, :10].min() > 0.05
    assert not found[:, 10:].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (2, 3), (130, 3)])
def test_grids_of_any_size(size: tuple[int, int]) -> None:
    maps = torch.rand(3, *size)
    found = random_walk(maps, boundary_affinities(torch.zeros(size), 5), 5, beta=10, steps=4)
    assert found.shape == maps.shape and found.dtype == torch.float32
    assert found.isfinite().all()


def test_zero_steps_and_zero_classes() -> None:
    affinities = boundary_affinities(torch.rand(4, 5), 5)
    maps = torch.rand(2, 4, 5)
    torch.testing.assert_close(random_walk(maps, affinities, 5, beta=10, steps=0), maps)
    assert random_walk(maps[:0], affinities, 5, beta=10, steps=3).shape == (0, 4, 5)
