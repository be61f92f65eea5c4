"""SIPE's seeds beside the published way, which holds the affinities of all pairs of cells and a loop over maps.

Affinities are N x N for N cells. Ours computes them for some cells at a time, and the sums over all maps as a product.
"""

from __future__ import annotations

from collections.abc import Iterator

import networks
import torch
import torch.nn.functional as F
from measure import Row, compare, show
from torch import Tensor

from deft.classify.sipe import seeds_of


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """A training batch of crops of 512, and one image of 1024 pixels at scale 2."""
    if quick:
        yield from _rows("a batch", 2, 16, (6, 6), device, 1)
    else:
        yield from _rows("a batch of 16 crops of 512", 16, 2048, (32, 32), device, 3)
        yield from _rows("an image of 1024x1024 at scale 2 and its mirror image", 2, 768, (129, 129), device, 1)


def _rows(
    what: str, count: int, channels: int, size: tuple[int, int], device: torch.device, runs: int
) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, channels, *size, generator=generator).to(device)
    planes = torch.rand(count, networks.CLASSES + 1, *size, generator=generator).to(device)
    labels = (torch.rand(count, networks.CLASSES, generator=generator) < 0.1).float().to(device)
    found, expected = seeds_of(features, planes, labels, 0.5), published(features, planes, labels, 0.5)
    theirs, ours = compare(
        lambda: published(features, planes, labels, 0.5),
        lambda: seeds_of(features, planes, labels, 0.5),
        device,
        runs,
    )
    yield Row(
        what=f"SIPE, seeds of {what}, {channels} channels",
        beside="all affinities at once, one map at a time",
        theirs=theirs,
        ours=ours,
        difference=f"{float((found != expected).any(dim=1).float().mean()):.1e} of the cells",
        goal="memory that grows with the number of cells, as fast",
        theirs_mb=networks.peak(lambda: published(features, planes, labels, 0.5), device),
        ours_mb=networks.peak(lambda: seeds_of(features, planes, labels, 0.5), device),
        note="float32",
        runs=runs,
    )


def published(features: Tensor, planes: Tensor, labels: Tensor, background: float) -> Tensor:
    """Seeds with N x N affinities of each image in memory, one-hot (N, K + 1, h, w)."""
    cells = F.normalize(features.flatten(2), dim=1)
    affinity = torch.relu(cells.transpose(1, 2) @ cells)
    scores = []
    for plane in planes.flatten(2).unbind(dim=1):
        common = (affinity * plane[:, None]).sum(dim=2)
        scores.append(common / (affinity.sum(dim=2) + plane.sum(dim=1, keepdim=True) - common + 1e-5))
    agreement = torch.stack(scores, dim=1)
    agreement[:, 0] *= background
    agreement[:, 1:][labels == 0] = -1
    chosen = F.one_hot(agreement.argmax(dim=1), planes.shape[1]).to(planes)
    return chosen.transpose(1, 2).reshape(planes.shape)


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
