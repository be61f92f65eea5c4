"""What IRN learns from confident labels: which pairs of cells belong together (Ahn et al., 2019, arXiv:1904.05044)."""

from __future__ import annotations

import torch
from torch import Tensor

from deft.contracts import BACKGROUND, IGNORE
from deft.refine.neighborhood import directions, first_cells, path_maximum, second_cells

EPSILON = 1e-5


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
        Weighted terms, float32 scalars: ``same`` = (-log a over background pairs + -log a over object pairs) / 4,
        ``different`` = -log(1 - a) / 2, ``centre`` and ``still``, the absolute errors of the displacements / 2. Each
        is the mean over its own pairs, and 0 where there are none.

    Raises:
        ValueError: the three grids differ.
    """
    if edge.shape != labels.shape or displacement.shape != (len(edge), 2, *edge.shape[1:]):
        raise ValueError(
            f"expected edge (N, h, w), displacement (N, 2, h, w) and labels (N, h, w), got {tuple(edge.shape)}, "
            f"{tuple(displacement.shape)} and {tuple(labels.shape)}"
        )
    labels = labels.to(torch.uint8)
    affinity, moved, pairs = edge.new_zeros(3), edge.new_zeros(2), edge.new_zeros(3)
    for direction in directions(radius):
        first, second = first_cells(labels, direction), second_cells(labels, direction)
        sure = (first != IGNORE) & (second != IGNORE)
        same, scene = first == second, first == BACKGROUND
        apart, inside = sure & ~same, sure & same & ~scene
        kinds = torch.stack([sure & same & scene, inside, apart]).flatten(1).to(edge.dtype)
        pairs = pairs + kinds.sum(dim=1)

        boundary = path_maximum(edge, direction)
        cost = -(torch.where(apart, boundary, 1 - boundary) + EPSILON).log()
        affinity = affinity + kinds @ cost.flatten()

        offset = displacement.new_tensor(direction).view(2, 1, 1)
        shift = first_cells(displacement, direction) - second_cells(displacement, direction)
        error = (shift - offset * inside[:, None]).abs().mean(dim=1)
        moved = moved + kinds[:2] @ error.flatten()
    background, objects, across = affinity / pairs.clamp(min=1)
    still, centre = moved / pairs[:2].clamp(min=1)
    return {"same": (background + objects) / 4, "different": across / 2, "centre": centre / 2, "still": still / 2}
