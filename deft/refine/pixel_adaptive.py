"""Propagation along the colours of an image: what PAMR and PAR share.

Both replace every value by a weighted mean of the values at its 8 neighbours, at several distances at once, and repeat
that; weights depend on the image alone (:mod:`deft.refine.pamr`, :mod:`deft.refine.par`). Beyond the border the values
of the border are repeated.

Letters: D distances; neighbours are ordered by distance, and within one by rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deft.contracts import SeedMaps
from deft.engine.infer import device
from deft.seedmaps import STRIDE, upsample

AROUND = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))
"""Steps to the 8 neighbours at distance 1."""


def neighbours(x: Tensor, distances: Sequence[int]) -> Iterator[Tensor]:
    """Values (C, h, w) of each of the 8 D neighbours, as views of padded copies of ``x`` (C, h, w)."""
    height, width = x.shape[-2:]
    for distance in distances:
        padded = F.pad(x[None], (distance,) * 4, mode="replicate")[0] if x.numel() else x.repeat(1, 1, 1)
        for down, right in AROUND:
            top, left = distance * (1 + down), distance * (1 + right)
            yield padded[:, top : top + height, left : left + width]


def propagate(maps: Tensor, weights: Tensor, distances: Sequence[int], iterations: int) -> Tensor:
    """Maps after so many weighted means over the neighbours.

    Args:
        maps: float32 (P, h, w).
        weights: of each neighbour, (8 D, h, w), non-negative and of sum 1 at each cell.
        distances: of the neighbours, in cells.
        iterations: number of means.

    Returns:
        float32 (P, h, w), within the range of ``maps``.
    """
    if not len(maps):
        return maps
    for _ in range(iterations):
        mean = torch.zeros_like(maps)
        for weight, values in zip(weights, neighbours(maps, distances), strict=True):
            mean.addcmul_(weight, values)
        maps = mean
    return maps


def on_grid(image: NDArray[np.uint8], stride: int) -> Tensor:
    """An image on the grid of a stride: the mean colour around the pixel of each cell, float32 (3, h, w) in [0, 1].

    Args:
        image: RGB, (H, W, 3).
        stride: pixels per cell; the mean is over the 2 stride - 1 pixels that are nearer than one cell, each way.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(device())[None].float() / 255
    around = F.avg_pool2d(pixels, 2 * stride - 1, stride, padding=stride - 1, count_include_pad=False)
    return around[0]


def refined(
    image: NDArray[np.uint8],
    seeds: SeedMaps,
    weigh: Callable[[Tensor], Tensor],
    distances: Sequence[int],
    iterations: int,
    stride: int,
) -> SeedMaps:
    """Seeds propagated along the colours of their image.

    Args:
        image: RGB, (H, W, 3).
        seeds: maps of the image, on the grid of :data:`deft.seedmaps.STRIDE`.
        weigh: returns the weights (8 D, h, w) of :func:`propagate` for an image (3, h, w) in [0, 1].
        distances: of the neighbours, in cells of ``stride`` pixels.
        iterations: number of means.
        stride: pixels per cell of the grid on which they are propagated: 1, 2 or 4.

    Returns:
        Maps on the grid and the device of ``seeds``.
    """
    if not seeds.classes:
        return seeds
    maps = upsample(seeds)[:, ::stride, ::stride].to(device(), torch.float32).contiguous()
    found = propagate(maps, weigh(on_grid(image, stride)), distances, iterations)
    step = STRIDE // stride
    return replace(seeds, maps=found[:, ::step, ::step].clamp(0, 1).contiguous().to(seeds.maps.device))
