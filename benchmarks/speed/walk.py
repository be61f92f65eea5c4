"""The random walk beside the dense matrix that PSA and IRN square.

python benchmarks/speed/walk.py
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from measure import Row, compare, copy_bandwidth, peak_mb, relative, seconds, show
from torch import Tensor
from torch.nn import functional as F

from deft.refine.neighborhood import directions, first_cells, second_cells
from deft.refine.random_walk import boundary_affinities, chebyshev_weights, random_walk

RADIUS, BETA, SQUARINGS, CLASSES = 5, 10.0, 8, 2
STEPS = 2**SQUARINGS
BESIDE = f"dense matrix squared {SQUARINGS} times"
GOALS = {(53, 80): "300 times on a CPU, 1e-4", (94, 125): "1,000 times on a CPU, 1e-4"}


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """The whole of the dense way; the dense way scaled from one squaring; a grid for which it has no room."""
    yield whole((10, 16) if quick else (53, 80), device, 1 if quick else 3)
    grid = (12, 18) if quick else (94, 125)
    # On a CPU, eight squarings of 11,750 cells take minutes.
    yield whole(grid, device, 3) if device.type == "cuda" else scaled(grid, device)
    yield alone((24, 24) if quick else (256, 256), device)


def whole(grid: tuple[int, int], device: torch.device, runs: int) -> Row:
    """Both ways from affinities to maps."""
    maps, affinities = example(grid, device)

    results: list[Tensor] = []

    def theirs() -> None:
        results[:] = [squared(maps, affinities)]

    def ours() -> Tensor:
        return walked(maps, affinities)

    ours_mb, theirs_mb = peak_mb(ours, device), peak_mb(theirs, device)  # which warms both: the dense way takes long
    one, other = compare(theirs, ours, device, runs, warm=0)
    exact = squared(maps, affinities, torch.float64)
    return Row(
        what=work(grid),
        beside=BESIDE,
        goal=GOALS.get(grid, "1e-4"),
        theirs=one,
        ours=seconds(ours, device, 20) if device.type == "cpu" else other,
        difference=f"{relative(ours(), exact):.0e}",
        theirs_mb=theirs_mb,
        ours_mb=ours_mb,
        note=joined(rounding(results[0], exact), share(grid, device)),
        runs=runs,
    )


def scaled(grid: tuple[int, int], device: torch.device) -> Row:
    """The dense way from one of its squarings, eight times; its numbers from as many products as the walk has steps."""
    maps, affinities = example(grid, device)
    build = seconds(lambda: transition(affinities, grid), device, 1, warm=0)
    matrix = transition(affinities, grid)
    squaring = seconds(lambda: matrix @ matrix, device, 2, warm=0)
    published_mb = 2 * matrix.numel() * matrix.element_size() / 1e6
    rounded = stepped(maps, matrix)
    exact = stepped(maps.double(), transition(affinities, grid, torch.float64))

    def ours() -> Tensor:
        return walked(maps, affinities)

    return Row(
        what=work(grid),
        beside=BESIDE,
        goal=GOALS.get(grid, "1e-4"),
        theirs=build + SQUARINGS * squaring,
        ours=seconds(ours, device, 20, warm=2),
        difference=f"{relative(ours(), exact):.0e}",
        theirs_mb=published_mb,
        ours_mb=peak_mb(ours, device),
        note=joined(
            f"published way: the matrix and {SQUARINGS} times one squaring of {squaring:.1f} s",
            "its memory: two copies of the matrix",
            f"its numbers: {STEPS} products with the matrix, which are the same walk",
            rounding(rounded, exact),
        ),
        runs=2,
    )


def alone(grid: tuple[int, int], device: torch.device) -> Row:
    """Ours where the dense way does not fit, against the steps one after the other as shifted maps."""
    maps, affinities = example(grid, device)

    def ours() -> Tensor:
        return walked(maps, affinities)

    cells = grid[0] * grid[1]
    return Row(
        what=work(grid),
        beside=BESIDE,
        goal="under 200 MB",
        theirs=None,
        ours=seconds(ours, device),
        difference=f"{relative(ours(), shifted(maps, affinities)):.0e}",
        ours_mb=peak_mb(ours, device),
        note=joined(
            f"not run: {4 * cells**2 / 2**30:,.1f} GiB a copy of the matrix",
            f"difference to {STEPS} steps of shifted maps in float64",
            share(grid, device),
        ),
        runs=5,
    )


def work(grid: tuple[int, int]) -> str:
    return f"random walk, {STEPS} steps, {grid[0]} x {grid[1]} cells, {CLASSES} classes"


def example(grid: tuple[int, int], device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """Maps of a few blobs and affinities of a boundary map with thin ridges, as a network gives."""
    rng = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.randn(1, 1 + CLASSES, 9, 12, generator=rng), size=grid, mode="bicubic")[0]
    edge = (-(smooth[0] / 0.1).square()).exp() * 0.95 + 0.02
    return smooth[1:].clamp(0, 1).to(device), boundary_affinities(edge.to(device), RADIUS)


def walked(maps: Tensor, affinities: list[Tensor]) -> Tensor:
    return random_walk(maps, affinities, RADIUS, beta=BETA, steps=STEPS)


def squared(maps: Tensor, affinities: list[Tensor], dtype: torch.dtype = torch.float32) -> Tensor:
    """The published way; float64 is what it would give without rounding."""
    matrix = transition(affinities, (maps.shape[1], maps.shape[2]), dtype)
    for _ in range(SQUARINGS):
        matrix = matrix @ matrix
    return (maps.to(dtype).flatten(1) @ matrix).view(maps.shape)


def stepped(maps: Tensor, matrix: Tensor) -> Tensor:
    """The same by one product a step."""
    state = maps.flatten(1)
    for _ in range(STEPS):
        state = state @ matrix
    return state.view(maps.shape)


def transition(affinities: list[Tensor], grid: tuple[int, int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Dense matrix (N, N) of one step: symmetric, ones on its diagonal, to the power, columns divided by their sums."""
    cells = torch.arange(grid[0] * grid[1], device=affinities[0].device).view(grid)
    matrix = torch.eye(cells.numel(), dtype=dtype, device=cells.device)
    for way, affinity in zip(directions(RADIUS), affinities, strict=True):
        one, other = first_cells(cells, way), second_cells(cells, way)
        matrix[one, other] = affinity.to(dtype)
        matrix[other, one] = affinity.to(dtype)
    matrix.pow_(BETA)
    return matrix.div_(matrix.sum(0, keepdim=True))


def shifted(maps: Tensor, affinities: list[Tensor]) -> Tensor:
    """All steps, one after the other, in float64."""
    ways = directions(RADIUS)
    weights = [affinity.double().pow(BETA) for affinity in affinities]

    def spread(state: Tensor) -> Tensor:
        total = state.clone()
        for way, weight in zip(ways, weights, strict=True):
            first_cells(total, way).addcmul_(second_cells(state, way), weight)
            second_cells(total, way).addcmul_(first_cells(state, way), weight)
        return total

    sums = spread(torch.ones_like(maps[:1], dtype=torch.float64))
    state = maps.double()
    for _ in range(STEPS):
        state = spread(state) / sums
    return state


def rounding(published: Tensor, exact: Tensor) -> str:
    return f"difference to the dense way in float64, from which its float32 is {relative(published, exact):.0e} away"


def joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def share(grid: tuple[int, int], device: torch.device) -> str:
    """Share of a GPU's copy bandwidth that a product reaches, from the bytes that it has to move."""
    if device.type != "cuda":
        return ""
    maps, affinities = example(grid, device)
    cells, entries = maps[0].numel(), 2 * len(affinities) + 1
    moved = cells * (
        entries * (8 + 4) + 4 + 3 * 8 * CLASSES
    )  # weights and columns; row starts; two maps read, one made
    products = len(chebyshev_weights(STEPS)) - 1
    idle = seconds(lambda: random_walk(maps, affinities, RADIUS, beta=BETA, steps=0), device)
    one = (seconds(lambda: walked(maps, affinities), device) - idle) / products
    reached = moved / one / copy_bandwidth(device)
    return f"a product takes {one * 1e6:.0f} µs for {moved / 1e6:.1f} MB: {reached:.0%} of the copy bandwidth"


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
