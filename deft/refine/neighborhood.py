"""Pairs of nearby cells of a grid, and the straight path between the two cells of a pair.

They are the pairs and paths of PSA and IRN (Ahn and Kwak, 2018, arXiv:1803.10464; Ahn et al., 2019, arXiv:1904.05044).
Each pair occurs once: a direction points from its upper (or left) cell to the other. In training, those works leave out
pairs whose first cell is near the border; here all pairs inside the grid count, so that no grid is too small.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Direction = tuple[int, int]
"""Rows down (0 or more) and columns right (any sign) from the first cell of a pair to the second."""


@cache
def directions(radius: int) -> tuple[Direction, ...]:
    """Directions shorter than ``radius`` cells, one of each opposite pair: 34 for a radius of 5, 152 for 10."""
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


@dataclass(frozen=True)
class DirectionGroup:
    """D directions whose paths have the same number L of cells, so that they can be computed together."""

    directions: tuple[Direction, ...]
    rows: Tensor
    """Row offset of each path cell from the first cell of the pair, int64 (L, D)."""
    columns: Tensor
    """Column offset of each path cell, int64 (L, D), relative to the leftmost offset of the radius: not negative."""
    offsets: Tensor
    """The directions as float32 (2, D, 1, 1)."""


@lru_cache(maxsize=32)
def direction_groups(radius: int, at_once: int, where: torch.device) -> tuple[DirectionGroup, ...]:
    """All directions of a radius, in groups of at most ``at_once`` directions with paths of equal length."""
    by_length: dict[int, list[Direction]] = defaultdict(list)
    for direction in directions(radius):
        by_length[len(path(direction))].append(direction)
    groups = []
    for same in by_length.values():
        for start in range(0, len(same), at_once):
            some = tuple(same[start : start + at_once])
            steps = torch.tensor([path(direction) for direction in some], device=where).permute(2, 1, 0)
            offsets = torch.tensor(some, dtype=torch.float32, device=where).T[:, :, None, None]
            groups.append(DirectionGroup(some, steps[0], steps[1] + radius - 1, offsets))
    return tuple(groups)


class ShiftedGrid:
    """Shifted copies of a grid without copying: a shift is a view of the padded grid, several shifts are one gather.

    Args:
        grid: (..., h, w).
        radius: upper bound of the length of all directions.
        fill: value outside the grid, where the second cells of some pairs are.
    """

    def __init__(self, grid: Tensor, radius: int, fill: float = 0) -> None:
        reach = self.reach = radius - 1
        self.size = (grid.shape[-2], grid.shape[-1])
        self.padded = F.pad(grid, (reach, reach, 0, reach), value=fill).contiguous()
        """The grid, padded on its left, right and lower side."""
        *lead, down, right = self.padded.stride()
        self.shifts = self.padded.as_strided(
            (*grid.shape[:-2], radius, 2 * radius - 1, *self.size), (*lead, down, right, down, right)
        )

    def first(self, padded: Tensor) -> Tensor:
        """View of the grid inside a tensor whose last dimensions are those of ``padded``: the first cells of pairs."""
        return self.second(padded, (0, 0))

    def second(self, padded: Tensor, direction: Direction) -> Tensor:
        """The same view, shifted by a direction: the second cells of pairs."""
        (height, width), (down, right) = self.size, direction
        return padded[..., down : down + height, self.reach + right : self.reach + right + width]

    def on_path(self, group: DirectionGroup, step: int) -> Tensor:
        """Cell number ``step`` of :func:`path` for every pair, (..., D, h, w)."""
        if len(group.directions) == 1:
            return self.second(self.padded, path(group.directions[0])[step]).unsqueeze(-3)  # a view, not a copy
        return self.shifts[..., group.rows[step], group.columns[step], :, :]

    def ends(self, group: DirectionGroup) -> Tensor:
        """Second cell of every pair, (..., D, h, w)."""
        if len(group.directions) == 1:
            return self.second(self.padded, group.directions[0]).unsqueeze(-3)
        down, right = group.offsets[:, :, 0, 0].long()
        return self.shifts[..., down, right + self.reach, :, :]


def first_cells(grid: Tensor, direction: Direction, step: Direction = (0, 0)) -> Tensor:
    """The first cells of all pairs of a direction, shifted by a ``step``.

    Args:
        grid: (..., h, w).
        direction: direction of the pairs.
        step: a shift within the bounding box of the direction.

    Returns:
        View (..., a, b) of the grid, a = h - down, b = w - |right|; empty if the grid is smaller than the direction.
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
        (..., a, b) as :func:`first_cells`. Its gradient goes to one cell of each path, that of the maximum.
    """
    largest: Tensor = _PathMaximum.apply(grid, direction)
    return largest


class _PathMaximum(torch.autograd.Function):
    """Stores one byte per pair for the backward pass, where torch's maximum over a stack stores eight."""

    @staticmethod
    def forward(context: Any, grid: Tensor, direction: Direction) -> Tensor:
        steps = path(direction)
        largest = first_cells(grid, direction, steps[0]).clone()
        winner = torch.zeros(largest.shape, dtype=torch.uint8, device=grid.device)
        for number, step in enumerate(steps[1:], 1):
            value = first_cells(grid, direction, step)
            torch.maximum(
                winner, (value > largest).to(torch.uint8) * number, out=winner
            )  # numbers rise, so the last wins
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
