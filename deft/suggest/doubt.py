"""How much of each pseudo-mask is likely wrong, by class, from the final maps and the network's mask.

Two things tell of a wrong cell: its score is close to the threshold or to that of another class, and the segmentation
network, which has averaged over all images, says something else. The chance of an error under either, and under both,
was counted on photographs with masks (``benchmarks/corrections.md``); it adds up.

Everything is on the grid of the maps, so that masks at full size are never decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE
from deft.seedmaps import check_maps, to_mask

CHANCE, BY_MARGIN, BY_NETWORK = 0.08, 0.2, 0.2
"""Chance of an error in any cell, and what a score at the threshold and another mask of the network add to it."""
NEAR = 0.3
"""Distance from the threshold, or from the next class, beyond which a score adds nothing."""
CLOSE = 0.15
"""A cell is called close to the threshold within this distance."""


@dataclass(frozen=True, eq=False)
class Doubt:
    """What maps and network say of one pseudo-mask; shares of its cells, in [0, 1]."""

    area: NDArray[np.float64]
    """Share of the background and of each class in the pseudo-mask, (K + 1,)."""
    wrong: NDArray[np.float64]
    """Expected share that is wrongly of a class, or wrongly not of it, (K + 1,)."""
    disagree: float
    """Share on which pseudo-mask and network disagree; 0 without a network."""
    close: float
    """Share close to the threshold."""
    seen: NDArray[np.float64]
    """Share of each class in the network's mask, (K + 1,); zeros without a network."""


def doubt(
    maps: NDArray[np.float32],
    classes: tuple[int, ...],
    threshold: float,
    num_classes: int,
    network: NDArray[np.uint8] | None = None,
) -> Doubt:
    """What maps and network say of the pseudo-mask of an image.

    Args:
        maps: the final maps, (P, h, w) in [0, 1].
        classes: their 0-based class indices.
        threshold: of the pseudo-masks.
        num_classes: K.
        network: the network's mask on the same grid, (h, w); 255 says nothing.

    Raises:
        ValueError: maps, classes and mask do not fit each other.
    """
    check_maps(maps, classes, num_classes)
    mask = to_mask(maps, classes, threshold)
    if network is not None and network.shape != mask.shape:
        raise ValueError(f"expected the network's mask on the grid of the maps, {mask.shape}, got {network.shape}")
    away = distance(maps, threshold)
    other = np.zeros(mask.shape, dtype=np.bool_) if network is None else (network != mask) & (network != IGNORE)
    chance = CHANCE + BY_MARGIN * (1 - np.minimum(away / NEAR, 1)) + BY_NETWORK * other
    wrong = _sums(mask, chance, num_classes)
    if network is not None:
        wrong += _sums(network[other], chance[other], num_classes)
    one = np.ones(mask.shape)
    return Doubt(
        area=_sums(mask, one, num_classes) / mask.size,
        wrong=wrong / mask.size,
        disagree=float(other.mean()),
        close=float((away < CLOSE).mean()),
        seen=np.zeros(num_classes + 1) if network is None else _sums(network, one, num_classes) / mask.size,
    )


def distance(maps: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """How far the score of each cell is from another decision, (h, w).

    Args:
        maps: (P, h, w) in [0, 1].
        threshold: below which a cell is background.
    """
    if not len(maps):
        return np.full(maps.shape[1:], np.inf, dtype=np.float32)
    best = maps.max(axis=0)
    away: NDArray[np.float32] = np.abs(best - np.float32(threshold))
    if len(maps) > 1:
        second = np.partition(maps, len(maps) - 2, axis=0)[-2]
        # Between two classes nothing is undecided where both are background.
        away = np.where(best > threshold, np.minimum(away, best - second), away)
    return away


def _sums(values: NDArray[np.uint8], weights: NDArray[np.float64], num_classes: int) -> NDArray[np.float64]:
    """Sum of the weights of each value, (K + 1,); 255 is left out."""
    return np.bincount(values.ravel(), weights.ravel(), minlength=256)[: num_classes + 1].astype(np.float64)
