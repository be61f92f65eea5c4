"""Seed maps: their grid, enlarging them to the pixels of the image, and thresholding them to masks.

Cell i of the grid is centred on pixel ``i * STRIDE``, in both directions. A mask pixel has its strongest class, the
first one in a tie, if the score of that class is above the threshold, and is background otherwise. Scores and threshold
are compared in float32 and strictly: a score equal to the threshold is background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft.contracts import BACKGROUND, MAX_CLASSES, SeedMaps

if TYPE_CHECKING:
    from torch import Tensor

STRIDE = 4
"""Pixels per cell of the grid of seed maps."""


def grid(size: tuple[int, int], stride: int = STRIDE) -> tuple[int, int]:
    """Cells (h, w) of the grid of an image of (H, W) pixels: h = (H - 1) // stride + 1, likewise w."""
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


def upsample(seeds: SeedMaps, stride: int = STRIDE) -> Tensor:
    """Enlarge maps to pixels, bilinear between cells and constant beyond the last.

    Args:
        seeds: maps (P, h, w) of an image (H, W), on the grid of the stride.
        stride: pixels per cell.

    Returns:
        float32 (P, H, W), in the range of the maps, on their device.

    Raises:
        ValueError: the maps are not on that grid.
    """
    import torch.nn.functional as F  # here, so that metrics of NumPy arrays do without torch

    (height, width), (rows, columns) = seeds.size, grid(seeds.size, stride)
    if seeds.maps.ndim != 3 or seeds.maps.shape[1:] != (rows, columns):
        raise ValueError(
            f"expected seeds (P, {rows}, {columns}) for an image of {height} x {width} at stride {stride}, got "
            f"{tuple(seeds.maps.shape)}; make them on the grid of deft.seedmaps.grid({height, width})"
        )
    if len(seeds.maps) == 0:
        return seeds.maps.new_zeros((0, height, width))
    bottom, right = (rows - 1) * stride + 1, (columns - 1) * stride + 1
    fine = F.interpolate(seeds.maps[None].float(), size=(bottom, right), mode="bilinear", align_corners=True)[0]
    return F.pad(fine, (0, width - right, 0, height - bottom), mode="replicate")


def strongest(maps: Tensor | NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Index of the strongest of P maps at each pixel, the first one in a tie, and its score.

    Args:
        maps: float (P, H, W), an array or a tensor on any device; P is at most 254.

    Returns:
        uint8 (H, W) in [0, P) and float32 (H, W); both all 0 if there are no maps.

    Raises:
        ValueError: the maps have another shape, or contain nan.
    """
    if maps.ndim != 3 or len(maps) > MAX_CLASSES:
        raise ValueError(f"expected maps (P, H, W) of at most {MAX_CLASSES} classes, got {tuple(maps.shape)}")
    return _strongest(maps, np.arange(len(maps), dtype=np.uint8))


def to_mask(maps: Tensor | NDArray[np.float32], classes: Sequence[int], threshold: float) -> NDArray[np.uint8]:
    """Mask of the strongest class at each pixel, background where its score is not above the threshold.

    Args:
        maps: float (P, H, W) in [0, 1], an array or a tensor on any device.
        classes: the P class indices, 0-based without background.
        threshold: background threshold in [0, 1).

    Returns:
        uint8 (H, W): 0 background, k + 1 for class k.

    Raises:
        ValueError: the maps do not fit the classes, or contain nan.
    """
    check_maps(maps, classes)
    mask, score = _strongest(maps, mask_values(classes)[1:])
    mask *= score > np.float32(threshold)
    return mask


def mask_values(classes: Sequence[int]) -> NDArray[np.uint8]:
    """Mask values of the background and of each of P classes, uint8 (P + 1,).

    ``mask_values(classes)[chosen]`` turns the choice at each pixel, 0 for background and p + 1 for the p-th class, into
    a mask.
    """
    return np.array([BACKGROUND, *(index + 1 for index in classes)], dtype=np.uint8)


def check_maps(maps: Tensor | NDArray[np.float32], classes: Sequence[int], num_classes: int = MAX_CLASSES) -> None:
    """Refuse maps that are not (P, H, W) for P classes.

    Raises:
        ValueError: there is not one map per class, or a class is repeated or not in ``range(num_classes)``.
    """
    if maps.ndim != 3 or len(maps) != len(classes):
        raise ValueError(
            f"expected maps ({len(classes)}, H, W), one for each of {len(classes)} classes, got {tuple(maps.shape)}"
        )
    if len(set(classes)) != len(classes) or any(not 0 <= index < num_classes for index in classes):
        raise ValueError(f"expected distinct 0-based class indices below {num_classes}, got {tuple(classes)}")


def _strongest(
    maps: Tensor | NDArray[np.float32], values: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The one of P values that belongs to the strongest map at each pixel, and the score of that map; both (H, W).

    Values are written during the comparison: looking them up afterwards takes as long as the comparison itself.
    """
    planes = maps if isinstance(maps, np.ndarray) else maps.numpy(force=True)
    planes = planes.astype(np.float32, copy=False)
    if not len(planes):
        return np.zeros(planes.shape[1:], dtype=np.uint8), np.zeros(planes.shape[1:], dtype=np.float32)
    score = planes[0].copy()
    winner = np.full(score.shape, values[0], dtype=np.uint8)
    for value, plane in zip(values[1:], planes[1:], strict=True):
        np.putmask(winner, plane > score, value)
        np.maximum(score, plane, out=score)
    if np.isnan(score).any():  # the maximum keeps it
        raise ValueError(
            "a map contains nan: the network that made it diverged; lower its learning rate or clip gradients"
        )
    return winner, score
