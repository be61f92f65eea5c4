"""SEAM's pixel correlation module (Wang et al., CVPR 2020, arXiv:2004.04581): maps averaged over cells that look alike.

The affinity of two cells is the positive part of the cosine of their features, and each cell's new value is the mean of
all cells' values, weighted by affinities. Without the positive part the product of maps and affinities could be
reassociated, and the N x N affinities of N cells would never be needed. With it they are needed, but only for some
cells at a time: forward and backward pass both compute a block of columns, use it and forget it, so that memory grows
with N. The divisor is a row of ones among the maps, so that one product per block gives both.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 2**22
"""Affinities between cells that are in memory at once (16 MB)."""


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
    """``rows relu(cells^T cells)`` in blocks of columns: (N, R, cells) and (N, C, cells) to (N, R, cells)."""

    @staticmethod
    def forward(context: Any, rows: Tensor, cells: Tensor) -> Tensor:
        context.save_for_backward(rows, cells)
        return torch.cat([rows @ torch.relu(cells.mT @ part) for part in _blocks(cells)], dim=2)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        rows, cells = context.saved_tensors
        found = torch.zeros_like(cells)
        own = []  # of the cells of a block as columns of the affinities; `found` is theirs as rows
        step = _step(cells)
        for part, gradient in zip(_blocks(cells), gradients[0].split(step, dim=2), strict=True):
            slopes = rows.mT @ gradient
            slopes.masked_fill_(cells.mT @ part <= 0, 0)
            own.append(cells @ slopes)
            found += part @ slopes.mT
        return None, found + torch.cat(own, dim=2)


def _blocks(cells: Tensor) -> tuple[Tensor, ...]:
    return cells.split(_step(cells), dim=2)


def _step(cells: Tensor) -> int:
    return max(1, BLOCK // (len(cells) * cells.shape[2]))
