"""Pairs of nearby cells of a grid, and the straight path between the two cells of a pair.

The pairs and paths of PSA and IRN (Ahn and Kwak, 2018, arXiv:1803.10464; Ahn et al., 2019, arXiv:1904.05044). Each
pair is met once: a direction points from its upper (or left) cell to the other. Where training leaves out, in those
works, the pairs whose first cell lies near the border, here every pair inside the grid counts: no grid is too small.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

Direction = tuple[int, int]
"""Rows down (0 or more) and columns right (any sign) from the first cell of a pair to the second."""


@cache
def directions(radius: int) -> tuple[Direction, ...]:
    """Directions shorter than ``radius`` cells, one of each two opposites: 34 for a radius of 5, 152 for 10."""
    reach = range(1 - radius, radius)
    return tuple(
        (down, right)
        for down in range(radius)
        for right in reach
        if 0 < down * down + right * right < radius * radius and (down > 0 or right > 0)
    )


@cache
def path(direction: Direction) -> tuple[Direction, ...]:
    """Cells closer than 1 to the segment from (0, 0) to ``direction`` and inside its bounding box, ends included."""
    down, right = direction
    columns = range(min(0, right), max(0, right) + 1)
    squared = down * down + right * right
    return tuple((y, x) for y in range(down + 1) for x in columns if (down * x - right * y) ** 2 < squared)


def first_cells(grid: Tensor, direction: Direction, step: Direction = (0, 0)) -> Tensor:
    """The first cells of all pairs of a direction, or the cells one ``step`` from them.

    Args:
        grid: (..., h, w).
        direction: direction of the pairs.
        step: a step that stays within the bounding box of the direction.

    Returns:
        View (..., a, b) of the grid, a = h - down, b = w - |right|; empty where the grid is smaller than the direction.
    """
    height, width = grid.shape[-2:]
    down, right = direction
    top, left = step[0], max(0, -right) + step[1]
    return grid[..., top : top + max(0, height - down), left : left + max(0, width - abs(right))]


def second_cells(grid: Tensor, direction: Direction) -> Tensor:
    """The second cells of all pairs of a direction: view (..., a, b) of the grid (..., h, w)."""
    return first_cells(grid, direction, direction)


def path_maximum(grid: Tensor, direction: Direction) -> Tensor:
    """Largest value on the path of each pair of a direction.

    Args:
        grid: (..., h, w).
        direction: direction of the pairs.

    Returns:
        (..., a, b) as :func:`first_cells`. Its gradient goes to one cell of each path, the largest.
    """
    largest: Tensor = _PathMaximum.apply(grid, direction)
    return largest


class _PathMaximum(torch.autograd.Function):
    """Keeps one byte a pair for the way back, where torch's own maximum over a stack keeps eight."""

    @staticmethod
    def forward(context: Any, grid: Tensor, direction: Direction) -> Tensor:
        steps = path(direction)
        largest = first_cells(grid, direction, steps[0]).clone()
        winner = torch.zeros(largest.shape, dtype=torch.uint8, device=grid.device)
        for number, step in enumerate(steps[1:], 1):
            value = first_cells(grid, direction, step)
            torch.maximum(winner, (value > largest).to(torch.uint8) * number, out=winner)  # numbers rise: the last wins
            torch.maximum(largest, value, out=largest)
        context.save_for_backward(winner)
        context.shape, context.direction = grid.shape, direction
        return largest

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (winner,) = context.saved_tensors
        gradient = gradients[0]
        total = gradient.new_zeros(context.shape)
        width = total.shape[-1]
        ahead = torch.tensor([down * width + right for down, right in path(context.direction)], device=winner.device)
        cells = torch.arange(total.numel(), device=winner.device).view(context.shape)
        cell = first_cells(cells, context.direction) + ahead[winner.int()]
        total.view(-1).index_add_(0, cell.flatten(), gradient.flatten())
        return total, None
