"""SEAM's pixel correlation module (Wang et al., CVPR 2020, arXiv:2004.04581): maps averaged over cells that look alike.

The affinity of two cells is the positive part of the cosine of their features, and each cell's new value is the mean of
all cells' values, weighted by affinities. Without the positive part the product of maps and affinities could be
reassociated, and the N x N affinities of N cells would never be needed. With it they are needed, but only for some
cells at a time: forward and backward pass both compute a block of columns, use it and forget it, so that memory grows
with N. Affinities are symmetric, and only half of them are computed. The divisor is a row of ones among the maps, so
that one product gives both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 2**21
"""Affinities between cells that are in memory at once (8 MB), unless :data:`LEAST` makes them more."""
LEAST = 128
"""Cells of a block; thinner products take longer."""


def correlated(maps: Tensor, features: Tensor) -> Tensor:
    """Mean of each map over all cells, weighted by their affinity to the cell.

    Args:
        maps: (N, K, h, w); they receive no gradient.
        features: (N, C, h, w); only their directions count.

    Returns:
        (N, K, h, w), float32, within the range of each map.
    """
    with torch.autocast(features.device.type, enabled=False):  # sums of thousands of products
        cells = F.normalize(features.float().flatten(2), dim=1)
        rows = maps.detach().float().flatten(2)
        sums: Tensor = _Products.apply(torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1), cells)
    return (sums[:, :-1] / (sums[:, -1:] + 1e-5)).reshape(maps.shape)


class _Products(torch.autograd.Function):
    """``rows relu(cells^T cells)``, in blocks: (N, R, cells) and (N, C, cells) to (N, R, cells).

    Affinities are symmetric, so those of a block of columns are computed from its own rows downwards, and each below
    the block counts for both of its cells.
    """

    @staticmethod
    def forward(context: Any, rows: Tensor, cells: Tensor) -> Tensor:
        context.save_for_backward(rows, cells)
        sums = torch.zeros_like(rows)
        for images, start, end in _blocks(cells):
            z, values, total = cells[images], rows[images], sums[images]
            affinity = (z[:, :, start:].mT @ z[:, :, start:end]).relu_()
            total[:, :, start:end] += values[:, :, start:] @ affinity
            if end < z.shape[2]:
                total[:, :, end:] += values[:, :, start:end] @ affinity[:, end - start :].mT
        return sums

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        rows, cells = context.saved_tensors
        found = torch.zeros_like(cells)
        one, other = torch.cat([rows, gradients[0]], dim=1), torch.cat([gradients[0], rows], dim=1)
        for images, start, end in _blocks(cells):
            z, total = cells[images], found[images]
            both = one[images, :, start:].mT @ other[images, :, start:end]  # slopes of both directions
            both.masked_fill_(z[:, :, start:].mT @ z[:, :, start:end] <= 0, 0)
            total[:, :, start:end] += z[:, :, start:] @ both
            if end < z.shape[2]:
                total[:, :, end:] += z[:, :, start:end] @ both[:, end - start :].mT
        return None, found


def _blocks(cells: Tensor) -> Iterator[tuple[slice, int, int]]:
    """Images, and where a block of their columns begins and ends: several small images, or a part of a large one."""
    images, count = len(cells), cells.shape[2]
    together = max(1, BLOCK // count**2)
    step = count if count**2 <= BLOCK else max(LEAST, BLOCK // count)
    for first in range(0, images, together):
        for start in range(0, count, step):
            yield slice(first, first + together), start, min(start + step, count)
