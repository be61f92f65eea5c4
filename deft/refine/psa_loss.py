"""Losses of AffinityNet, over pairs of labelled cells (PSA, Ahn and Kwak, 2018, arXiv:1803.10464)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from deft.contracts import BACKGROUND, IGNORE
from deft.engine.ranks import mean_over_ranks, world
from deft.refine.neighborhood import Direction, directions, first_cells, second_cells

EPSILON = 1e-5


def affinity(features: Tensor, direction: Direction) -> Tensor:
    """Affinity of all pairs of a direction: exp(-mean over channels of the absolute difference of features).

    Args:
        features: (N, C, h, w).
        direction: offset from the first to the second cell.

    Returns:
        (N, h - down, w - |right|) in [0, 1], indexed by the first cell.
    """
    return (-(first_cells(features, direction) - second_cells(features, direction)).abs().mean(dim=1)).exp()


def cell_labels(mask: Tensor, stride: int) -> Tensor:
    """Labels of cells: the label of more than half of a cell's pixels, else 255.

    Args:
        mask: integer (N, H, W), 255 unlabelled.
        stride: side of a cell, in pixels.

    Returns:
        uint8 (N, h, w), h = H // stride, likewise w.
    """
    values = mask.to(torch.uint8)[:, None]
    labels = torch.full_like(F.max_pool2d(values.float(), stride), IGNORE, dtype=torch.uint8)
    for value in torch.unique(values).tolist():
        labels[F.avg_pool2d((values == value).float(), stride) > 0.5] = value
    return labels[:, 0]


def affinity_losses(features: Tensor, labels: Tensor, radius: int) -> dict[str, Tensor]:
    """Loss terms over all pairs of labelled cells closer than ``radius``.

    The affinity a is trained towards 1 for pairs of equal labels and towards 0 for pairs of different labels; object
    and background pairs have equal weight, however many there are.

    Args:
        features: (N, C, h, w).
        labels: 0 background, 1 and up objects, 255 unlabelled, integer (N, h, w).
        radius: maximum distance of a pair, in cells (exclusive).

    Returns:
        Weighted terms, float32 scalars: ``same`` = (-log a over background pairs + -log a over object pairs) / 4 and
        ``different`` = -log(1 - a) / 2. Each is the mean over its own pairs, and 0 if there are none. Each of several
        processes divides by the mean of their numbers of pairs, so that the mean of their losses is that of the global
        batch.

    Raises:
        ValueError: the shapes of the grids differ.
    """
    if features.ndim != 4 or labels.shape != (len(features), *features.shape[2:]):
        raise ValueError(
            f"expected features (N, C, h, w) and labels (N, h, w), got {tuple(features.shape)} and "
            f"{tuple(labels.shape)}"
        )
    with torch.autocast(features.device.type, enabled=False):  # which would sum costs in half precision
        return _losses(features.float(), labels.to(torch.uint8), radius)


def _losses(features: Tensor, labels: Tensor, radius: int) -> dict[str, Tensor]:
    """As :func:`affinity_losses`, for float32 features and uint8 labels."""
    cost, pairs = features.new_zeros(3), features.new_zeros(3)
    for direction in directions(radius):
        first, second = first_cells(labels, direction), second_cells(labels, direction)
        labelled = (first != IGNORE) & (second != IGNORE)
        same, is_background = labelled & (first == second), first == BACKGROUND
        different = labelled & (first != second)
        kinds = torch.stack([same & is_background, same & ~is_background, different]).flatten(1).to(features.dtype)
        pairs = pairs + kinds.sum(dim=1)
        # Storing the channel differences of all pairs would take 34 times the memory of the features, so they are
        # recomputed in the backward pass.
        a = checkpoint(affinity, features, direction, use_reentrant=False, preserve_rng_state=False)
        cost = cost - kinds @ (torch.where(different, 1 - a, a) + EPSILON).log().flatten()
    background, objects, across = cost / mean_over_ranks(pairs).clamp(min=1 / world())
    return {"same": (background + objects) / 4, "different": across / 2}
