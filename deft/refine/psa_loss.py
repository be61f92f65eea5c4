"""What AffinityNet learns from label maps: which cells belong together (PSA, Ahn and Kwak, 2018, arXiv:1803.10464)."""

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
    """exp(-mean over channels of the absolute difference) of the two cells of each pair of a direction.

    Args:
        features: (N, C, h, w).
        direction: from the first to the second cell.

    Returns:
        (N, h - down, w - |right|) in [0, 1], laid out by first cells.
    """
    return (-(first_cells(features, direction) - second_cells(features, direction)).abs().mean(dim=1)).exp()


def cell_labels(mask: Tensor, stride: int) -> Tensor:
    """Labels of cells: that of more than half of a cell's pixels, else 255.

    Args:
        mask: integer (N, H, W), 255 unsure.
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
    """Loss terms over all pairs of cells closer than ``radius`` whose labels are both sure.

    Pairs of equal labels ask for an affinity a of 1, pairs of different labels for 0; objects and background count the
    same however many pairs they have.

    Args:
        features: (N, C, h, w).
        labels: 0 background, 1 and up objects, 255 unsure, integer (N, h, w).
        radius: in cells.

    Returns:
        Weighted terms, float32 scalars: ``same`` = (-log a over background pairs + -log a over object pairs) / 4 and
        ``different`` = -log(1 - a) / 2. Each is the mean over its own pairs, and 0 where there are none. Of several
        processes each divides by their mean count, which makes the mean of their losses that of the global batch.

    Raises:
        ValueError: the grids differ.
    """
    if features.ndim != 4 or labels.shape != (len(features), *features.shape[2:]):
        raise ValueError(
            f"expected features (N, C, h, w) and labels (N, h, w), got {tuple(features.shape)} and "
            f"{tuple(labels.shape)}"
        )
    with torch.autocast(features.device.type, enabled=False):  # it would add up costs in half precision
        return _losses(features.float(), labels.to(torch.uint8), radius)


def _losses(features: Tensor, labels: Tensor, radius: int) -> dict[str, Tensor]:
    """As :func:`affinity_losses`, of float32 features and uint8 labels."""
    cost, pairs = features.new_zeros(3), features.new_zeros(3)
    for direction in directions(radius):
        first, second = first_cells(labels, direction), second_cells(labels, direction)
        sure = (first != IGNORE) & (second != IGNORE)
        same, scene = first == second, first == BACKGROUND
        apart = sure & ~same
        kinds = torch.stack([sure & same & scene, sure & same & ~scene, apart]).flatten(1).to(features.dtype)
        pairs = pairs + kinds.sum(dim=1)
        # Differences of all channels of all pairs would be 34 times the features: they are made again on the way back.
        a = checkpoint(affinity, features, direction, use_reentrant=False, preserve_rng_state=False)
        cost = cost - kinds @ (torch.where(apart, 1 - a, a) + EPSILON).log().flatten()
    background, objects, across = cost / mean_over_ranks(pairs).clamp(min=1 / world())
    return {"same": (background + objects) / 4, "different": across / 2}
