"""Class-aware attention affinity (CLIP-ES, Lin et al., CVPR 2023, arXiv:2212.09506, Sec. 3.3), without squaring.

Attention between the patches of an image says which of them belong together. Its mean over heads and the last blocks,
W (N, N), is made doubly stochastic (Sinkhorn), then symmetric, D, and D D spreads each class map, taken within boxes
around where it is strong.

The published code divides W by its sums of columns and rows three times, writing an (N, N) matrix each time, and
multiplies D by itself, N^3 operations. Here Sinkhorn only scales two vectors, D0 = diag(r) W diag(c), and D is applied
to the maps one step at a time: W is the only (N, N) matrix, and it is only read. Attention is added to W a few rows at
a time, so that no matrix of a head is ever whole.

Differs from the published code: a box that reaches the right or lower border includes the cells there (theirs ends one
cell before), and the threshold is not rounded to 1/255.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TOGETHER = 4 * 2**20
"""Attention weights of all heads that are computed at once: 16 MB in float32."""


def attend(query: Tensor, key: Tensor, value: Tensor | None, total: Tensor, share: float) -> Tensor | None:
    """Attention of one image, whose weights between patches are added to ``total``.

    Args:
        query: scaled queries of each of A heads, (A, N + 1, C); the first token is no patch.
        key: (A, N + 1, C).
        value: (A, N + 1, C); None where only the weights are wanted.
        total: float32 (N, N), filled in place: the mean weights over heads are added, times ``share``.
        share: weight of this block.

    Returns:
        Attended values, (A, N + 1, C), of the type of ``value``; None without.
    """
    heads, tokens, _ = query.shape
    rows = max(1, TOGETHER // (heads * tokens))
    attended = None if value is None else torch.empty_like(value)
    for start in range(0, tokens, rows):
        weights = (query[:, start : start + rows] @ key.transpose(1, 2)).float().softmax(dim=-1)
        if attended is not None and value is not None:
            attended[:, start : start + rows] = weights.to(value.dtype) @ value
        skipped = int(start == 0)
        at = slice(start - 1 + skipped, start - 1 + weights.shape[1])
        total[at] += weights[:, skipped:, 1:].mean(dim=0) * share
    return attended


class Affinity:
    """D (N, N) of an image, as the weights W and two vectors."""

    def __init__(self, weights: Tensor, rounds: int) -> None:
        """Scale rows and columns alternately, until both sum to about 1.

        Args:
            weights: attention between N patches, positive float (N, N); it is kept, not copied or changed.
            rounds: of columns, then rows.
        """
        self.weights = weights
        self.rows = weights.new_ones(len(weights))
        self.columns = weights.new_ones(len(weights))
        for _ in range(rounds):
            self.columns = 1 / (weights.T @ self.rows)
            self.rows = 1 / (weights @ self.columns)

    def apply(self, maps: Tensor) -> Tensor:
        """D m = (D0 m + D0^T m) / 2 for each map m of (N, P)."""
        rows, columns = self.rows[:, None], self.columns[:, None]
        return (rows * (self.weights @ (columns * maps)) + columns * (self.weights.T @ (rows * maps))) / 2


def refined(affinity: Affinity, maps: Tensor, threshold: float, squarings: int) -> Tensor:
    """Class maps spread by the affinity, each from within its boxes.

    Args:
        affinity: of the h w patches.
        maps: of P classes, in [0, 1], (P, h, w).
        threshold: share of a map's maximum, for its boxes.
        squarings: T is D to the power 2^squarings.

    Returns:
        (P, h, w), not negative.
    """
    boxes = torch.stack([inside_boxes(one, threshold) for one in maps])
    vectors = (maps * boxes).flatten(1).T
    for _ in range(2**squarings):
        vectors = affinity.apply(vectors)
    return vectors.T.reshape(maps.shape)


def inside_boxes(values: Tensor, threshold: float) -> Tensor:
    """Where the tight boxes are around each connected region above a share of the maximum; bool (h, w).

    Cells that touch at a corner are connected.

    Args:
        values: a map, (h, w).
        threshold: share of its maximum, in [0, 1].
    """
    region = regions(values > threshold * values.max())
    found = torch.zeros_like(region, dtype=torch.bool)
    for number in set(region.flatten().tolist()):
        if number:
            rows, columns = (region == number).nonzero().unbind(1)
            found[int(rows.min()) : int(rows.max()) + 1, int(columns.min()) : int(columns.max()) + 1] = True
    return found


def regions(cells: Tensor) -> Tensor:
    """Number of the connected region of each cell, float (h, w), 0 outside; a region is numbered by one of its cells.

    Args:
        cells: bool (h, w).
    """
    inside = cells.float()
    number = torch.arange(1.0, cells.numel() + 1, device=cells.device).view(cells.shape) * inside
    while True:
        spread = F.max_pool2d(number[None, None], 3, stride=1, padding=1)[0, 0] * inside
        if torch.equal(spread, number):
            return number
        number = spread


def stretched(maps: Tensor) -> Tensor:
    """Each map (P, h, w) from its minimum, 0, to its maximum, 1; one without contrast is 0 everywhere."""
    low = maps.amin(dim=(-2, -1), keepdim=True)
    return (maps - low) / (maps.amax(dim=(-2, -1), keepdim=True) - low + 1e-7)
