"""Random walk that propagates maps between cells of high affinity.

It is the random walk of PSA (Ahn and Kwak, 2018, arXiv:1803.10464) and IRN (Ahn et al., 2019, arXiv:1904.05044). Those
works square the dense N x N transition matrix T of all N cells e times, to obtain that of t = 2^e steps, and multiply
the maps with it. Here a sparse transition matrix is applied to the maps step by step: each step averages over the few
cells within the radius, so that time and memory grow with N instead of N^3 and N^2. Fewer than t steps are needed: T^t
is a weighted sum of Chebyshev polynomials of T (Sachdeva and Vishnoi, 2014, "Faster Algorithms via Approximation
Theory"), in which those of a degree beyond about sqrt(50 t) have negligible weight, and each costs one step more than
the previous one. The result is the same: the error is below 1e-12 of the largest value, or below what a caller asks for
whose affinities are known less well: for 256 steps, 1e-4 takes 62 products where 1e-12 takes 112.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from deft.refine.neighborhood import Direction, directions, first_cells, path_maximum, second_cells
from deft.refine.sparse_rows import row_matrix

EXACT = 1e-12
"""Error that is below what float32 can tell."""


def boundary_affinities(edge: Tensor, radius: int) -> list[Tensor]:
    """Affinity of every pair of cells closer than ``radius``: 1 minus the strongest boundary on the path between them.

    Args:
        edge: boundary strength in [0, 1], (h, w).
        radius: maximum distance of a pair, in cells.

    Returns:
        One map (h - down, w - |right|) in [0, 1] for each of ``directions(radius)``, indexed by the first cell.
    """
    return [1 - path_maximum(edge, direction) for direction in directions(radius)]


def random_walk(
    maps: Tensor, affinities: list[Tensor], radius: int, *, beta: float, steps: int, error: float = EXACT
) -> Tensor:
    """Maps after a number of steps of the random walk.

    With A the symmetric matrix of ``affinities ** beta``, 1 on its diagonal and 0 beyond the radius, one step is
    ``out_j = sum_i maps_i A_ij / sum_i A_ij``.

    Args:
        maps: float32 (P, h, w).
        affinities: one map in [0, 1] for each of ``directions(radius)``, as returned by :func:`boundary_affinities`.
        radius: maximum distance of a pair of cells, in cells.
        beta: exponent of the affinities; larger values sharpen them.
        steps: number of steps; 2^e for squaring the transition matrix e times.
        error: largest error that the result may have, as a share of the largest value.

    Returns:
        float32 (P, h, w), within the range of ``maps``.
    """
    count, height, width = maps.shape
    if maps.numel() == 0:
        return maps.float()
    step = _transition(affinities, directions(radius), (height, width), maps.device, beta)
    # In float32 the small flow across a boundary is lost to rounding; over hundreds of steps this adds up to 1e-4.
    state = maps.flatten(1).T.double().contiguous()
    first, *others = chebyshev_weights(steps, error)
    result = first * state
    before = state
    for number, weight in enumerate(others):
        # T_1 = x; T_(k+1) = 2 x T_k - T_(k-1)
        ahead = step @ state if number == 0 else torch.addmm(before, step, state, beta=-1, alpha=2)
        before, state = state, ahead
        if weight:
            result.add_(state, alpha=weight)
    low, high = torch.aminmax(maps.flatten(1), dim=1)
    return result.T.float().clamp(low.view(-1, 1), high.view(-1, 1)).view(count, height, width)


@cache
def chebyshev_weights(steps: int, error: float = EXACT) -> tuple[float, ...]:
    """Weights c_k, k = 0, 1, ..., with x^steps = sum of c_k T_k(x) for x in [-1, 1], up to an error; they add up to 1.

    c_k is the probability that a symmetric random walk of ``steps`` unit steps on a line ends at distance k.
    """
    distance = steps % 2
    chances = [0.0, 1.0] if distance else [0.5]  # up to a common factor; both sides of the start count for a distance
    while distance < steps and chances[-1] > 1e-20 * max(chances):
        chances += [0.0, chances[-1] * (2 if distance == 0 else 1) * (steps - distance) / (steps + distance + 2)]
        distance += 2
    total, rest = sum(chances), 0.0
    while (rest := rest + chances[-1] / total) < error:
        chances.pop()
    return tuple(chance / total for chance in chances)


def steps_for(steps: int, side: int) -> int:
    """Number of steps for images of a given long side, proportional to their area, at least 1.

    A walk of t steps reaches about sqrt(t) cells: with the steps of a large image, the maps of a small one would be
    mixed across the boundaries of its objects.

    Args:
        steps: number of steps for images of 500 pixels.
        side: long side of the images, in pixels.
    """
    return max(1, round(steps * (side / 500) ** 2))


def _transition(
    affinities: list[Tensor], ways: tuple[Direction, ...], size: tuple[int, int], device: torch.device, beta: float
) -> Tensor:
    """Transition matrix: float64 CSR (h w, h w) whose rows sum to 1, with 2 D + 1 entries each for D directions."""
    height, width = size
    own = len(ways)
    weights = torch.zeros(2 * own + 1, height, width, dtype=torch.float64, device=device)
    weights[own] = 1
    # The neighbours of a cell are in the order of their index, for locality of memory access in the products.
    for place, (way, affinity) in enumerate(zip(ways, affinities, strict=True), 1):
        first_cells(weights[own + place], way).copy_(affinity)
    weights[own + 1 :].pow_(beta)
    for place, way in enumerate(ways, 1):
        second_cells(weights[own - place], way).copy_(first_cells(weights[own + place], way))
    weights /= weights.sum(0)
    ahead = [down * width + right for down, right in ways]
    reach = torch.tensor([*(-cells for cells in reversed(ahead)), 0, *ahead], dtype=torch.int32, device=device)
    cells = height * width
    columns = torch.arange(cells, dtype=torch.int32, device=device).view(-1, 1) + reach
    # Neighbours outside the grid have weight 0, so that their column does not matter.
    return row_matrix(columns.clamp_(0, cells - 1), weights.view(-1, cells).T, cells)
