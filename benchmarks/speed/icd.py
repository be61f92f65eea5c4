"""ICD's directions beside the published way: gradient ascent on the variance, batch by batch.

The published code climbs for epochs, with a network's forward pass for each image in each of them. The direction it
climbs to is the first principal component, which follows from sums made in one pass. Features are given here, so that
only the search itself is timed; the passes through the network come on top, one for ours and one per epoch for theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from measure import Row, compare, show
from torch import Tensor

from deft.seeds.icd import Moments

EPOCHS = 20


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """The images of one class, as many as VOC has of a rare one."""
    sizes = [(8, 16, (4, 5))] if quick else [(200, 512, (24, 32)), (200, 2048, (24, 32))]
    for images, channels, size in sizes:
        yield _row(images, channels, size, device)


def _row(images: int, channels: int, size: tuple[int, int], device: torch.device) -> Row:
    generator = torch.Generator().manual_seed(0)
    cells = size[0] * size[1]
    inside = torch.rand(images, 1, cells, generator=generator) < 0.3
    apart = torch.randn(channels, 1, generator=generator)
    features = (apart * inside + torch.randn(images, channels, cells, generator=generator)).to(device)
    active = inside[:, 0].float().to(device)
    found, expected = ours(features, active), published(features, active)
    theirs, own = compare(lambda: published(features, active), lambda: ours(features, active), device, 1)
    agreement = float((F.normalize(found, dim=0) * F.normalize(expected, dim=0)).sum())
    return Row(
        what=f"ICD, the direction of a class, {images} images of {cells} cells, {channels} channels",
        beside=f"gradient ascent on the variance, {EPOCHS} epochs, one image a step",
        theirs=theirs,
        ours=own,
        difference=f"cosine of both directions {agreement:.4f}",
        goal="one pass",
        note="without the network",
        runs=1,
    )


def ours(features: Tensor, active: Tensor) -> Tensor:
    """The direction from sums: (C,), in units of the features."""
    moments = Moments(features.shape[1])
    for one, map_ in zip(features, active, strict=True):
        moments.add(one, map_)
    return moments.direction(1000)[0].to(features)


def published(features: Tensor, active: Tensor) -> Tensor:
    """Gradient ascent on the mean square of the score of standardised features, w of length 1."""
    flat = features.transpose(0, 1).flatten(1)
    mean, deviation = flat.mean(dim=1, keepdim=True), flat.std(dim=1, keepdim=True)
    weight = F.normalize(torch.ones(features.shape[1], device=features.device), dim=0)
    for _ in range(EPOCHS):
        for one in features:
            standard = (one - mean) / deviation
            gradient = standard @ (weight @ standard) / standard.shape[1]
            weight = F.normalize(weight + 0.1 * gradient, dim=0)
    score = torch.einsum("c,ncp->np", weight / deviation[:, 0], features - mean)
    sign = torch.sign(active[score > 0].mean() - active[score < 0].mean())
    return sign * weight / deviation[:, 0]


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
