"""SEAM's pixel correlation beside the published way, which holds the affinities of all pairs of cells.

The rectifier between the product of features and that with the maps forbids to exchange the two, so both ways compute
N x N affinities for N cells: ours half of them, which are symmetric, for some cells at a time, in the forward pass and
again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import networks
import torch
from measure import Row, compare, show
from torch import Tensor

from deft.classify.pixel_correlation import correlated


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """A training batch of crops of 448 at the published stride and at ours, and one image of 1024 pixels at scale 2."""
    if quick:
        yield from _rows("a step on a batch", 2, 16, (6, 6), True, device, 1)
    else:
        yield from _rows("a step on a batch of 8 crops of 448 at stride 16", 8, 192, (28, 28), True, device, 5)
        yield from _rows("a step on a batch of 8 crops of 448 at stride 8", 8, 192, (56, 56), True, device, 3)
        mirrored = "an image of 1024x1024 at scale 2 and its mirror image, stride 16"
        yield from _rows(mirrored, 2, 192, (129, 129), False, device, 1)


def _rows(
    what: str, count: int, channels: int, size: tuple[int, int], trains: bool, device: torch.device, runs: int
) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, channels, *size, generator=generator).to(device)
    maps = torch.rand(count, networks.CLASSES + 1, *size, generator=generator).to(device)
    slopes = torch.randn(maps.shape, generator=generator).to(device)

    def step(way: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        given = features.clone().requires_grad_(trains)
        found = way(maps, given)
        if not trains:
            return [found]
        (found * slopes).sum().backward()  # type: ignore[no-untyped-call]
        return [found.detach(), given.grad] if given.grad is not None else [found.detach()]

    pairs = list(zip(step(correlated), step(published), strict=True))
    named = zip(("values", "gradients"), pairs, strict=False)
    theirs, ours = compare(lambda: step(published), lambda: step(correlated), device, runs)
    yield Row(
        what=f"SEAM, pixel correlation, {what}, {channels} channels, {maps.shape[1]} maps",
        beside="all affinities at once, autograd",
        theirs=theirs,
        ours=ours,
        difference=", ".join(f"{apart(*pair):.1e} of {name}" for name, pair in named),
        goal="memory that grows with the number of cells, within 1e-3",
        theirs_mb=networks.peak(lambda: step(published), device),
        ours_mb=networks.peak(lambda: step(correlated), device),
        note="float32" + ("" if trains else ", no gradients"),
        runs=runs,
    )


def apart(one: Tensor, other: Tensor) -> float:
    """Norm of the difference over that of ``other``; a cosine near 0 may be rounded to either side of the rectifier."""
    return float((one.double() - other.double()).norm() / other.double().norm())


def published(maps: Tensor, features: Tensor) -> Tensor:
    """Maps (N, K, h, w) averaged by N x N affinities in memory."""
    cells = features.flatten(2)
    cells = cells / (torch.norm(cells, dim=1, keepdim=True) + 1e-5)
    affinity = torch.relu(cells.transpose(1, 2) @ cells)
    affinity = affinity / (affinity.sum(dim=1, keepdim=True) + 1e-5)
    return (maps.flatten(2) @ affinity).reshape(maps.shape)


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
