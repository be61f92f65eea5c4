"""Random walk that spreads maps over cells with no boundary between them.

It is the walk of PSA (Ahn and Kwak, 2018, arXiv:1803.10464) and IRN (Ahn et al., 2019, arXiv:1904.05044). Those works
square the dense N x N transition matrix of all N cells until it holds the walk of 2^e steps, and multiply the maps with
it. Here the maps take the 2^e steps: each is an average over the few cells within the radius, so that time and memory
grow with N instead of N^3 and N^2, and the numbers are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deft.refine.neighborhood import Direction, directions, first_cells, path_maximum, second_cells
from deft.refine.sparse_rows import row_matrix


def boundary_affinities(edge: Tensor, radius: int) -> list[Tensor]:
    """Affinity of every pair of cells closer than ``radius``: 1 minus the strongest boundary on the path between them.

    Args:
        edge: boundary strength in [0, 1], (h, w).
        radius: in cells.

    Returns:
        One map (h - down, w - |right|) in [0, 1] for each of ``directions(radius)``, laid out by first cells.
    """
    return [1 - path_maximum(edge, direction) for direction in directions(radius)]


def random_walk(maps: Tensor, affinities: list[Tensor], radius: int, *, beta: float, steps: int) -> Tensor:
    """Maps after a number of steps of the walk.

    With A the symmetric matrix of ``affinities ** beta``, 1 on its diagonal and 0 beyond the radius, one step is
    ``out_j = sum_i maps_i A_ij / sum_i A_ij``.

    Args:
        maps: float32 (P, h, w).
        affinities: one map in [0, 1] for each of ``directions(radius)``, as :func:`boundary_affinities` gives.
        radius: in cells.
        beta: sharpens the affinities.
        steps: 2^e for a walk that others make by squaring e times.

    Returns:
        float32 (P, h, w), never outside the range of ``maps``.
    """
    count, height, width = maps.shape
    if maps.numel() == 0:
        return maps.float()
    weights, columns = _neighbours(affinities, directions(radius), (height, width), maps.device, beta)
    step = row_matrix(columns, weights / weights.sum(1, keepdim=True), height * width)
    # In float32 what leaks through a boundary in one step is lost in rounding, and hundreds of steps add up to 1e-4.
    state = maps.reshape(count, -1).T.double().contiguous()
    for _ in range(steps):
        state = step @ state
    return state.T.reshape(count, height, width).float()


def steps_for(steps: int, side: int) -> int:
    """Steps for images of a long side, in pixels, where ``steps`` are those for 500: in proportion to area, at least 1.

    A walk of t steps reaches about sqrt(t) cells, so that a small image walked as often as a large one is mixed
    across its objects' edges.
    """
    return max(1, round(steps * (side / 500) ** 2))


def _neighbours(
    affinities: list[Tensor], ways: tuple[Direction, ...], size: tuple[int, int], device: torch.device, beta: float
) -> tuple[Tensor, Tensor]:
    """Weight and index of the neighbours of every cell, itself included, (h w, 2 D + 1); weight 0 where none is."""
    height, width = size
    own = torch.arange(height * width, device=device).view(height, width)
    weights = torch.zeros(2 * len(ways) + 1, height, width, dtype=torch.float64, device=device)
    columns = own.repeat(2 * len(ways) + 1, 1, 1)
    weights[len(ways)] = 1
    # The neighbours of a cell are laid out in the order of their index, which keeps the products local in memory.
    for place, (way, affinity) in enumerate(zip(ways, affinities, strict=True), len(ways) + 1):
        strength = affinity.double().pow(beta)
        first_cells(weights[place], way).copy_(strength)
        first_cells(columns[place], way).copy_(second_cells(own, way))
        second_cells(weights[-1 - place], way).copy_(strength)
        second_cells(columns[-1 - place], way).copy_(first_cells(own, way))
    return weights.flatten(1).T.contiguous(), columns.flatten(1).T.contiguous()
