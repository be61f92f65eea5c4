"""PAMR inside an exported graph: probabilities that follow the edges of photographs.

A run whose inference has a dense CRF (:mod:`deft.segment.smoothing`) makes coarse probabilities, and its masks lose
much without one. No runtime has a CRF; PAMR (:mod:`deft.refine.pamr`) consists of operations that all have, and regains
most of it. Neighbours are found by convolutions with kernels of a single 1, a few nodes of the graph for each mean.

Shapes: maps (N, L, h, w), images (N, 3, h, w) in [0, 1]. Sizes may be symbols.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from deft.refine.pamr import Pamr


def smoothed(maps: Tensor, images: Tensor, settings: Pamr) -> Tensor:
    """Maps after PAMR's means over neighbours of similar colour, float32 (N, L, h, w).

    Args:
        maps: float32.
        images: on the same grid.
        settings: distances in cells of that grid, and the number of means; its other fields are not used.
    """
    weights = weights_of(images, settings)
    for _ in range(settings.iterations):
        mean = torch.zeros_like(maps)
        for weight, values in zip(weights, around(maps, settings.distances), strict=True):
            mean = mean + (values * weight[:, None]).sum(dim=2)
        maps = mean
    return maps


def weights_of(images: Tensor, settings: Pamr) -> list[Tensor]:
    """Weights of the 8 neighbours at each distance, (N, 8, h, w) each, of sum 1 over all of them.

    As :meth:`deft.refine.pamr.Pamr.weights`, for several images.
    """
    near = torch.cat(list(around(images, settings.distances)), dim=2)  # (N, 3, 8 D, h, w)
    own = images[:, :, None]
    deviation = torch.cat([near, own.expand(-1, -1, len(settings.distances), -1, -1)], dim=2).std(dim=2, keepdim=True)
    apart = (near - own).abs() / (settings.softness * deviation + 1e-8)
    return list(torch.split((-apart.mean(dim=1)).softmax(dim=1), 8, dim=1))


def around(x: Tensor, distances: tuple[int, ...]) -> Iterator[Tensor]:
    """Values of the 8 neighbours at each distance, (N, C, 8, h, w); beyond the border those of the border."""
    kernels = torch.eye(9)[[0, 1, 2, 3, 5, 6, 7, 8]].view(8, 1, 3, 3).to(x)
    planes = x.flatten(0, 1)[:, None]
    for distance in distances:
        padded = F.pad(planes, (distance,) * 4, mode="replicate")
        found = F.conv2d(padded, kernels, dilation=distance)
        yield found.reshape(x.shape[0], x.shape[1], 8, *x.shape[2:])
