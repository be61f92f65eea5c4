"""Losses of IRN, over pairs of cells with confident labels (Ahn et al., 2019, arXiv:1904.05044).

At the published radius there are 152 directions of pairs, and millions of pairs in a batch. No values of single pairs
are stored: sums over pairs and their gradients are computed together, a few directions at a time; only grids remain.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deft.contracts import BACKGROUND, IGNORE
from deft.engine.ranks import mean_over_ranks, world
from deft.refine.neighborhood import DirectionGroup, ShiftedGrid, direction_groups

EPSILON = 1e-5
BOTH_BACKGROUND, SAME_OBJECT, DIFFERENT, UNLABELLED = range(4)
"""Kinds of pairs: both cells background, both of the same class, of different labels, at least one without a label."""
PAIRS_AT_ONCE = 1 << 16
"""Number of pairs whose values fit into a processor's cache."""
PAIRS_AT_ONCE_CUDA = 1 << 22
"""On a GPU a few large steps are faster."""


def irn_losses(edge: Tensor, displacement: Tensor, labels: Tensor, radius: int) -> dict[str, Tensor]:
    """Loss terms over all pairs of labelled cells closer than ``radius``.

    The affinity a of a pair is 1 minus the strongest boundary on the path between its cells. It is trained to be high
    for pairs of equal labels and low for pairs of different labels; object and background pairs have equal weight,
    however many there are. The displacements of a pair on one object should point to the same position, those of a pair
    on the background should be equal.

    Args:
        edge: boundary strength in [0, 1], (N, h, w).
        displacement: down and right, in cells, (N, 2, h, w).
        labels: 0 background, 1 and up objects, 255 unlabelled, integer (N, h, w).
        radius: maximum distance of a pair, in cells.

    Returns:
        Weighted terms, scalars: ``same`` = (-log a over background pairs + -log a over object pairs) / 4,
        ``different`` = -log(1 - a) / 2, ``centre`` and ``still``, the absolute errors of the displacements on objects
        and on the background / 2. Each is the mean over its own pairs, and 0 if there are none. Each of several
        processes divides by the mean of their numbers of pairs, so that the mean of their gradients is that of the
        global batch.

    Raises:
        ValueError: the shapes of the three grids differ.
    """
    if edge.shape != labels.shape or displacement.shape != (len(edge), 2, *edge.shape[1:]):
        raise ValueError(
            f"expected edge (N, h, w), displacement (N, 2, h, w) and labels (N, h, w), got {tuple(edge.shape)}, "
            f"{tuple(displacement.shape)} and {tuple(labels.shape)}"
        )
    affinity, errors, pairs = _Sums.apply(edge, displacement, labels.to(torch.uint8), radius)
    pairs = mean_over_ranks(pairs).clamp(min=1 / world())
    background, objects, different = affinity / pairs
    still, centre = errors / pairs[:DIFFERENT]
    return {"same": (background + objects) / 4, "different": different / 2, "centre": centre / 2, "still": still / 2}


class _Sums(torch.autograd.Function):
    """Sums over pairs by kind: costs of affinities (3,), errors of displacements (2,), numbers of pairs (3,).

    The gradient of each sum with respect to a grid is a grid too. It is computed in the forward pass; the backward pass
    only adds up these grids.
    """

    @staticmethod
    def forward(
        context: Any, edge: Tensor, displacement: Tensor, labels: Tensor, radius: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        edges, displacements = ShiftedGrid(edge, radius), ShiftedGrid(displacement, radius)
        others = ShiftedGrid(labels, radius, IGNORE)
        affinity, errors, pairs = edge.new_zeros(3), edge.new_zeros(2), edge.new_zeros(3)
        by_edge = edge.new_zeros(UNLABELLED + 1, edges.padded.numel())
        by_displacement = edge.new_zeros(DIFFERENT, *displacements.padded.shape)
        cells = edges.first(torch.arange(edges.padded.numel(), device=edge.device).view(edges.padded.shape))[:, None]
        limit = PAIRS_AT_ONCE_CUDA if edge.is_cuda else PAIRS_AT_ONCE
        for group in direction_groups(radius, max(1, limit // max(1, edge.numel())), edge.device):
            kind = _kinds(labels[:, None], others.ends(group))
            of_kind = [torch.eq(kind, one, out=edge.new_empty(kind.shape)) for one in range(UNLABELLED)]
            pairs += torch.stack([one.sum() for one in of_kind])

            boundary, winner = _largest(edges, group)
            value = torch.addcmul(1 - boundary, of_kind[DIFFERENT], 2 * boundary - 1).add_(EPSILON)
            slope = of_kind[DIFFERENT].mul(-2).add_(1).div_(value)
            by_edge.view(-1).scatter_add_(0, _winning_cells(edges, cells, group, kind, winner), slope.flatten())
            cost = value.log_()
            affinity -= torch.stack([torch.dot(one.flatten(), cost.flatten()) for one in of_kind])

            error = displacement[:, :, None] - displacements.ends(group)
            error.addcmul_(of_kind[SAME_OBJECT][:, None], group.offsets.to(error), value=-1)
            sign = error.sign()
            size = error.abs_().sum(1)
            for one in (BOTH_BACKGROUND, SAME_OBJECT):
                errors[one] += torch.dot(of_kind[one].flatten(), size.flatten())
                for number, direction in enumerate(group.directions):
                    signs = (sign[:, :, number], of_kind[one][:, None, number])
                    displacements.first(by_displacement[one]).addcmul_(*signs)
                    displacements.second(by_displacement[one], direction).addcmul_(*signs, value=-1)
        context.save_for_backward(
            edges.first(by_edge[:UNLABELLED].view(UNLABELLED, *edges.padded.shape)).clone(),
            displacements.first(by_displacement) / 2,
        )
        context.mark_non_differentiable(pairs)
        return affinity, errors / 2, pairs

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_edge, by_displacement = context.saved_tensors
        edge = (by_edge * gradients[0].view(-1, 1, 1, 1)).sum(0)
        displacement = (by_displacement * gradients[1].view(-1, 1, 1, 1, 1)).sum(0)
        return edge, displacement, None, None


def _kinds(first: Tensor, second: Tensor) -> Tensor:
    """Kinds of the pairs of labels (N, 1, h, w) and (N, D, h, w), uint8."""
    background = (first == BACKGROUND).to(torch.uint8)
    different = (first != second).view(torch.uint8)
    unlabelled = torch.maximum((first == IGNORE).view(torch.uint8), (second == IGNORE).view(torch.uint8))
    return torch.maximum(torch.maximum(different * DIFFERENT, SAME_OBJECT - background), unlabelled * UNLABELLED)


def _largest(edges: ShiftedGrid, group: DirectionGroup) -> tuple[Tensor, Tensor]:
    """Strongest boundary on the path of each pair, and the number of its path cell, both float (N, D, h, w)."""
    largest = edges.on_path(group, 0).clone()
    winner, higher = torch.zeros_like(largest), torch.empty_like(largest)
    for number in range(1, len(group.rows)):
        value = edges.on_path(group, number)
        # Numbers rise, so that the last cell that exceeded the maximum before it wins.
        torch.maximum(winner, torch.gt(value, largest, out=higher).mul_(number), out=winner)
        torch.maximum(largest, value, out=largest)
    return largest, winner


def _winning_cells(edges: ShiftedGrid, cells: Tensor, group: DirectionGroup, kind: Tensor, winner: Tensor) -> Tensor:
    """Flat index of the largest cell of each path in an array (kind, N, rows, columns) of padded grids, int64.

    Args:
        edges: the grid.
        cells: flat index of each cell in the padded grid, (N, 1, h, w).
        group: the directions.
        kind: kinds of the pairs, uint8 (N, D, h, w).
        winner: number of the largest cell on the path, float (N, D, h, w).
    """
    length, count = group.rows.shape
    ahead = group.rows * edges.padded.shape[-1] + group.columns - edges.reach  # (L, D)
    kinds = torch.arange(UNLABELLED + 1, device=kind.device) * edges.padded.numel()
    table = (kinds[:, None] + ahead.T[:, None]).flatten()  # by direction, kind and number of the path cell
    number = winner.int().add_(kind, alpha=length)
    if count > 1:
        number += torch.arange(count, device=kind.device, dtype=torch.int32)[:, None, None] * (
            length * (UNLABELLED + 1)
        )
    moved = table.index_select(0, number.flatten()).view_as(kind)
    return moved.add_(cells).flatten()
