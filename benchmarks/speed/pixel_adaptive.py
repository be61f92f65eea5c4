"""Means over 48 neighbours of similar colour, PAMR's and PAR's, beside the published way.

The published way gathers the 48 neighbours of every value by a convolution whose kernels are 1 in one place, for each
distance, in each iteration. Ours adds up shifted views of one padded copy.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from measure import Row, compare, peak_mb, show
from torch import Tensor
from torch.nn import functional as F

from deft.refine.pamr import Pamr
from deft.refine.par import Par
from deft.refine.pixel_adaptive import AROUND, propagate


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Both refiners, on an image of VOC's size at half its resolution, with its weights."""
    size, classes = ((12, 16), 2) if quick else ((188, 250), 2)
    generator = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.rand(1, 3, 9, 12, generator=generator), size, mode="bilinear")[0].to(device)
    maps = torch.rand(classes, *size, generator=generator).to(device)
    for settings in (Pamr(), Par()):
        yield _row(image, maps, settings, device)


def _row(image: Tensor, maps: Tensor, settings: Pamr | Par, device: torch.device) -> Row:
    def ours() -> Tensor:
        return propagate(maps, settings.weights(image), settings.distances, settings.iterations)

    def theirs() -> Tensor:
        return published(image, maps, settings)

    difference = float((ours() - theirs()).abs().max())
    before, after = compare(theirs, ours, device, 5)
    height, width = maps.shape[1:]
    return Row(
        what=f"{type(settings).__name__}, {len(maps)} classes, {width}x{height} cells",
        beside="convolutions that gather the neighbours",
        theirs=before,
        ours=after,
        difference=f"{difference:.1e}",
        goal="milliseconds an image, equal maps",
        theirs_mb=peak_mb(theirs, device),
        ours_mb=peak_mb(ours, device),
        note="float32, weights included",
        runs=5,
    )


def published(image: Tensor, maps: Tensor, settings: Pamr | Par) -> Tensor:
    """The same weights and means, with neighbours (P, 48, h, w) gathered by convolutions."""
    distances = settings.distances
    around = gathered(image, distances)
    if isinstance(settings, Pamr):
        own = image[:, None].expand(-1, len(distances), -1, -1)
        deviation = torch.cat([around, own], 1).std(1, keepdim=True)
        weights = (-(around - image[:, None]).abs() / (1e-8 + settings.softness * deviation)).mean(0).softmax(0)
    else:
        deviation = around.std(1, keepdim=True)
        far = ((around - image[:, None]).abs() / (deviation + 1e-8) / settings.softness) ** 2
        weights = (-far).mean(0).softmax(0) + settings.spatial_weight * settings.by_distance(image.device)
        weights = weights / (1 + settings.spatial_weight)
    for _ in range(settings.iterations):
        maps = (gathered(maps, distances) * weights).sum(1)
    return maps


def gathered(x: Tensor, distances: tuple[int, ...]) -> Tensor:
    """Neighbours (C, 8 D, h, w) of values (C, h, w)."""
    kernel = torch.zeros(8, 1, 3, 3, device=x.device)
    for index, (down, right) in enumerate(AROUND):
        kernel[index, 0, 1 + down, 1 + right] = 1
    padded = (F.pad(x[:, None], (distance,) * 4, mode="replicate") for distance in distances)
    return torch.cat([F.conv2d(one, kernel, dilation=d) for one, d in zip(padded, distances, strict=True)], 1)


if __name__ == "__main__":
    show(rows(torch.device("cpu"), quick=False))
