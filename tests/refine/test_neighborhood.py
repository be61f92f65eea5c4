from __future__ import annotations

import math

import pytest
import torch

from deft.refine.neighborhood import (
    ShiftedGrid,
    direction_groups,
    directions,
    first_cells,
    path,
    path_maximum,
    second_cells,
)


@pytest.mark.parametrize(("radius", "count"), [(1, 0), (2, 4), (5, 34), (10, 152)])
def test_directions_are_one_half_of_the_disc(radius: int, count: int) -> None:
    half = directions(radius)
    assert len(half) == len(set(half)) == count
    whole = {
        (y, x) for y in range(-radius, radius + 1) for x in range(-radius, radius + 1) if y * y + x * x < radius**2
    }
    assert set(half) | {(-y, -x) for y, x in half} == whole - {(0, 0)}
    assert not set(half) & {(-y, -x) for y, x in half}


@pytest.mark.parametrize("direction", directions(7))
def test_a_path_has_the_cells_closer_than_one_cell_to_the_segment(direction: tuple[int, int]) -> None:
    down, right = direction
    length = math.hypot(down, right)
    near = set()
    for y in range(-8, 9):
        for x in range(-8, 9):
            between = 0 <= y <= down and min(0, right) <= x <= max(0, right)
            if between and abs(down * x - right * y) / length < 1 - 1e-9:
                near.add((y, x))
    assert set(path(direction)) == near
    assert {(0, 0), direction} <= near


@pytest.mark.parametrize("direction", [(0, 3), (2, 0), (2, 3), (3, -2), (4, -4), (9, 1)])
def test_pairs_are_all_pairs_inside_the_grid(direction: tuple[int, int]) -> None:
    grid = torch.arange(7 * 6).view(7, 6)
    found = set(
        zip(
            first_cells(grid, direction).flatten().tolist(),
            second_cells(grid, direction).flatten().tolist(),
            strict=True,
        )
    )
    expected = {
        (y * 6 + x, (y + direction[0]) * 6 + x + direction[1])
        for y in range(7)
        for x in range(6)
        if y + direction[0] < 7 and 0 <= x + direction[1] < 6
    }
    assert found == expected


@pytest.mark.parametrize("direction", [(0, 1), (0, 4), (3, 2), (4, -3), (1, -1)])
def test_path_maximum_and_its_gradient(direction: tuple[int, int]) -> None:
    grid = torch.rand(2, 8, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    stack = torch.stack([first_cells(grid, direction, step) for step in path(direction)])
    found = path_maximum(grid, direction)
    torch.testing.assert_close(found, stack.amax(0))
    weights = torch.rand(found.shape, dtype=torch.float64)
    (expected,) = torch.autograd.grad((stack.amax(0) * weights).sum(), grid)
    (gradient,) = torch.autograd.grad((found * weights).sum(), grid)
    torch.testing.assert_close(gradient, expected)


def test_path_maximum_of_a_grid_smaller_than_the_direction() -> None:
    grid = torch.rand(1, 2, 3, requires_grad=True)
    assert path_maximum(grid, (4, 1)).shape == (1, 0, 2)
    path_maximum(grid, (4, 1)).sum().backward()
    assert grid.grad is not None and not grid.grad.any()


def test_ties_send_the_gradient_to_one_cell() -> None:
    grid = torch.ones(1, 5, 5, requires_grad=True)
    found = path_maximum(grid, (0, 3))
    found.sum().backward()
    assert grid.grad is not None and grid.grad.sum() == found.numel()


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_groups_contain_every_direction_once_with_paths_of_equal_length(at_once: int) -> None:
    groups = direction_groups(6, at_once, torch.device("cpu"))
    assert sorted(direction for group in groups for direction in group.directions) == sorted(directions(6))
    for group in groups:
        assert len(group.directions) <= at_once
        assert {len(path(direction)) for direction in group.directions} == {len(group.rows)}


@pytest.mark.parametrize("at_once", [1, 1000])
@pytest.mark.parametrize("size", [(7, 6), (2, 9), (1, 1)])
def test_a_shifted_grid_has_the_cells_of_all_pairs(at_once: int, size: tuple[int, int]) -> None:
    grid = torch.arange(2 * size[0] * size[1]).view(2, *size)
    shifted = ShiftedGrid(grid, 5, fill=-1)
    assert torch.equal(shifted.first(shifted.padded), grid)
    for group in direction_groups(5, at_once, grid.device):
        ends = shifted.ends(group)
        for number, direction in enumerate(group.directions):
            inside = ends[:, number] >= 0
            assert torch.equal(ends[:, number][inside], second_cells(grid, direction).flatten())
            assert torch.equal(grid[inside], first_cells(grid, direction).flatten())
            assert torch.equal(shifted.second(shifted.padded, direction), ends[:, number])
            for place, step in enumerate(path(direction)):
                seen = shifted.on_path(group, place)[:, number][inside]
                assert torch.equal(seen, first_cells(grid, direction, step).flatten())
