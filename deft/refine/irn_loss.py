"""What IRN learns from confident labels: which pairs of cells belong together (Ahn et al., 2019, arXiv:1904.05044).

At the published radius there are 152 directions of pairs, and millions of pairs in a batch. Nothing of a pair is kept:
sums over pairs and their gradients are computed together, a few directions at a time, and what stays are grids.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deft.contracts import BACKGROUND, IGNORE
from deft.engine.ranks import mean_over_ranks, world
from deft.refine.neighborhood import Alike, Windows, alike

EPSILON = 1e-5
SCENE, INSIDE, APART, UNSURE = range(4)
"""Kinds of pairs: both cells background, both of one object, of different labels, one of them of no label."""
PAIRS_AT_ONCE = 1 << 16
"""What stays in a processor's cache."""
PAIRS_AT_ONCE_CUDA = 1 << 22
"""A GPU wants few large steps."""


def irn_losses(edge: Tensor, displacement: Tensor, labels: Tensor, radius: int) -> dict[str, Tensor]:
    """Loss terms over all pairs of cells closer than ``radius`` whose labels are both sure.

    The affinity a of a pair is 1 minus the strongest boundary on the path between its cells. Pairs of equal labels ask
    for a high one, pairs of different labels for a low one; objects and background count the same however many pairs
    they have. The displacements of a pair on one object should point to one spot, those of a pair on the background
    should be equal.

    Args:
        edge: boundary strength in [0, 1], (N, h, w).
        displacement: down and right, in cells, (N, 2, h, w).
        labels: 0 background, 1 and up objects, 255 unsure, integer (N, h, w).
        radius: in cells.

    Returns:
        Weighted terms, scalars: ``same`` = (-log a over background pairs + -log a over object pairs) / 4,
        ``different`` = -log(1 - a) / 2, ``centre`` and ``still``, the absolute errors of the displacements / 2. Each
        is the mean over its own pairs, and 0 where there are none. Of several processes each divides by the mean of
        their numbers of pairs, so that the mean of their gradients is that of the global batch.

    Raises:
        ValueError: the three grids differ.
    """
    if edge.shape != labels.shape or displacement.shape != (len(edge), 2, *edge.shape[1:]):
        raise ValueError(
            f"expected edge (N, h, w), displacement (N, 2, h, w) and labels (N, h, w), got {tuple(edge.shape)}, "
            f"{tuple(displacement.shape)} and {tuple(labels.shape)}"
        )
    affinity, moved, pairs = _Sums.apply(edge, displacement, labels.to(torch.uint8), radius)
    pairs = mean_over_ranks(pairs).clamp(min=1 / world())
    background, objects, across = affinity / pairs
    still, centre = moved / pairs[:APART]
    return {"same": (background + objects) / 4, "different": across / 2, "centre": centre / 2, "still": still / 2}


class _Sums(torch.autograd.Function):
    """Sums over pairs by kind: costs of affinities (3,), errors of displacements (2,), numbers of pairs (3,).

    The gradient of a sum by a grid is a grid too, and is made on the way there; the way back only adds such grids up.
    """

    @staticmethod
    def forward(
        context: Any, edge: Tensor, displacement: Tensor, labels: Tensor, radius: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        edges, displacements = Windows(edge, radius), Windows(displacement, radius)
        others = Windows(labels, radius, IGNORE)
        affinity, moved, pairs = edge.new_zeros(3), edge.new_zeros(2), edge.new_zeros(3)
        pull = edge.new_zeros(UNSURE + 1, edges.wide.numel())
        push = edge.new_zeros(APART, *displacements.wide.shape)
        cells = edges.first(torch.arange(edges.wide.numel(), device=edge.device).view(edges.wide.shape))[:, None]
        limit = PAIRS_AT_ONCE_CUDA if edge.is_cuda else PAIRS_AT_ONCE
        for group in alike(radius, max(1, limit // max(1, edge.numel())), edge.device):
            kind = _kinds(labels[:, None], others.ends(group))
            of_kind = [torch.eq(kind, one, out=edge.new_empty(kind.shape)) for one in (SCENE, INSIDE, APART)]
            pairs += torch.stack([one.sum() for one in of_kind])

            boundary, winner = _largest(edges, group)
            value = torch.addcmul(1 - boundary, of_kind[APART], 2 * boundary - 1).add_(EPSILON)
            slope = of_kind[APART].mul(-2).add_(1).div_(value)
            pull.view(-1).scatter_add_(0, _winning_cells(edges, cells, group, kind, winner), slope.flatten())
            cost = value.log_()
            affinity -= torch.stack([torch.dot(one.flatten(), cost.flatten()) for one in of_kind])

            error = displacement[:, :, None] - displacements.ends(group)
            error.addcmul_(of_kind[INSIDE][:, None], group.offsets.to(error), value=-1)
            sign = error.sign()
            size = error.abs_().sum(1)
            for one in (SCENE, INSIDE):
                moved[one] += torch.dot(of_kind[one].flatten(), size.flatten())
                for number, direction in enumerate(group.directions):
                    pushed = (sign[:, :, number], of_kind[one][:, None, number])
                    displacements.first(push[one]).addcmul_(*pushed)
                    displacements.second(push[one], direction).addcmul_(*pushed, value=-1)
        context.save_for_backward(
            edges.first(pull[:UNSURE].view(UNSURE, *edges.wide.shape)).clone(), displacements.first(push) / 2
        )
        context.mark_non_differentiable(pairs)
        return affinity, moved / 2, pairs

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        pull, push = context.saved_tensors
        by_edge = (pull * gradients[0].view(-1, 1, 1, 1)).sum(0)
        by_displacement = (push * gradients[1].view(-1, 1, 1, 1, 1)).sum(0)
        return by_edge, by_displacement, None, None


def _kinds(first: Tensor, second: Tensor) -> Tensor:
    """Kinds of the pairs of labels (N, 1, h, w) and (N, D, h, w), uint8."""
    one_scene = (first == BACKGROUND).to(torch.uint8)
    differ = (first != second).view(torch.uint8)
    unsure = torch.maximum((first == IGNORE).view(torch.uint8), (second == IGNORE).view(torch.uint8))
    # 0 for the same background, 1 for the same object, 2 for different ones, and 3 where a label is missing
    return torch.maximum(torch.maximum(differ * APART, INSIDE - one_scene), unsure * UNSURE)


def _largest(edges: Windows, group: Alike) -> tuple[Tensor, Tensor]:
    """Strongest boundary on the path of each pair, and the number of its cell on the path, both float (N, D, h, w)."""
    largest = edges.on_path(group, 0).clone()
    winner, higher = torch.zeros_like(largest), torch.empty_like(largest)
    for number in range(1, len(group.rows)):
        value = edges.on_path(group, number)
        # Numbers rise, so that of the cells that were ever the largest the last one wins.
        torch.maximum(winner, torch.gt(value, largest, out=higher).mul_(number), out=winner)
        torch.maximum(largest, value, out=largest)
    return largest, winner


def _winning_cells(edges: Windows, cells: Tensor, group: Alike, kind: Tensor, winner: Tensor) -> Tensor:
    """Where the largest cell of each path lies in (kind, N, rows, columns) of the wide grid, flat, int64.

    Args:
        edges: the grid.
        cells: where its own cells lie there, (N, 1, h, w).
        group: the directions.
        kind: of pairs, uint8 (N, D, h, w).
        winner: the number of the largest cell on the path, float (N, D, h, w).
    """
    length, count = group.rows.shape
    ahead = group.rows * edges.wide.shape[-1] + group.columns - edges.reach  # (L, D)
    kinds = torch.arange(UNSURE + 1, device=kind.device) * edges.wide.numel()
    table = (kinds[:, None] + ahead.T[:, None]).flatten()  # by direction, kind and number on the path
    number = winner.int().add_(kind, alpha=length)
    if count > 1:
        number += torch.arange(count, device=kind.device, dtype=torch.int32)[:, None, None] * (length * (UNSURE + 1))
    moved = table.index_select(0, number.flatten()).view_as(kind)
    return moved.add_(cells).flatten()
