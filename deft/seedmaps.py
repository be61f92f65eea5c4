"""Seed maps: their grid, enlarging them to the pixels of image and photograph, and thresholding them to masks.

Cell i of the grid is centred on pixel ``i * STRIDE``, in both directions. A mask pixel has its strongest class, the
first one in a tie, if the score of that class is above the threshold, and is background otherwise. Scores and threshold
are compared in float32 and strictly: a score equal to the threshold is background.

Where an image was scaled down from its photograph, scores are enlarged once more, and then compared: a mask at full
size has outlines as smooth as the scores, not the steps of the smaller image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft.contracts import BACKGROUND, MAX_CLASSES, SeedMaps

if TYPE_CHECKING:
    from torch import Tensor

STRIDE = 4
"""Pixels per cell of the grid of seed maps."""
_BAND = 8_000_000
"""Floats in memory at once while maps are enlarged to a photograph (32 MB)."""


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


def from_cells(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample maps whose cells divide an image evenly to the grid of seed maps, linearly.

    Args:
        maps: float (..., h, w); cell i of h is the i-th of h equal parts of the image.
        size: (H, W) of the image.

    Returns:
        (..., g, g') on the grid of :func:`grid`.
    """
    rows, columns = (
        _linear(cells, (STRIDE * _numbers(places) + 0.5) * cells / side - 0.5)
        for cells, side, places in zip(maps.shape[-2:], size, grid(size), strict=True)
    )
    return rows.to(maps) @ maps @ columns.to(maps).T


def to_cells(maps: Tensor, size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """Resample maps on the grid of seed maps to cells that divide the image evenly, linearly.

    Args:
        maps: float (..., g, g') on the grid of :func:`grid`.
        size: (H, W) of the image.
        cells: (h, w) wanted.

    Returns:
        (..., h, w).
    """
    rows, columns = (
        _linear(places, ((_numbers(wanted) + 0.5) * side / wanted - 0.5) / STRIDE)
        for places, side, wanted in zip(maps.shape[-2:], size, cells, strict=True)
    )
    return rows.to(maps) @ maps @ columns.to(maps).T


def _linear(cells: int, places: Tensor) -> Tensor:
    """Weights (number of places, cells) that interpolate between the centres of a row of cells; places are float64."""
    import torch

    at = places.float().clamp(0, cells - 1)
    return (1 - (at[:, None] - torch.arange(cells)).abs()).clamp(min=0)


def _numbers(count: int) -> Tensor:
    """0, 1, ... as float64 (count,): a tensor, so that an exported graph has them for every size."""
    import torch

    return torch.arange(count, dtype=torch.float64)


def enlarged(seeds: SeedMaps) -> Iterator[tuple[slice, Tensor]]:
    """Scores at the size of the photograph, a band of rows at a time.

    Args:
        seeds: maps of an image.

    Yields:
        Rows and float32 (P, rows, W). There is one band, that of :func:`upsample`, if the image is the photograph.
    """
    maps = upsample(seeds)
    if seeds.full_size == seeds.size:
        yield slice(0, seeds.size[0]), maps
    else:
        yield from bands(maps, seeds.full_size)


def bands(maps: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Resize maps (P, h, w) bilinearly to (P, H, W), a band of rows at a time; yields rows and (P, rows, W).

    Args:
        maps: float, on any device.
        size: (H, W) wanted.
    """
    import torch
    import torch.nn.functional as F

    height, width = size
    planes, h, _ = maps.shape
    step = max(1, _BAND // (max(1, planes) * width))
    for top in range(0, height, step):
        rows = torch.arange(top, min(top + step, height), device=maps.device)
        if not planes:
            yield slice(top, top + len(rows)), maps.new_zeros((0, len(rows), width))
            continue
        source = ((rows + 0.5) * (h / height) - 0.5).clamp(0, h - 1)
        upper = source.floor().long()
        lower = (upper + 1).clamp(max=h - 1)
        share = (source - upper)[:, None]
        band = torch.lerp(maps[:, upper], maps[:, lower], share.to(maps.dtype))
        band = F.interpolate(band[None], size=(len(rows), width), mode="bilinear", align_corners=False)[0]
        yield slice(top, top + len(rows)), band


def full_mask(seeds: SeedMaps, threshold: float) -> NDArray[np.uint8]:
    """:func:`to_mask` at the size of the photograph.

    Args:
        seeds: maps of an image.
        threshold: background threshold in [0, 1).

    Returns:
        uint8 (H, W): 0 background, k + 1 for class k.
    """
    mask = np.empty(seeds.full_size, dtype=np.uint8)
    for rows, maps in enlarged(seeds):
        mask[rows] = to_mask(maps, seeds.classes, threshold)
    return mask


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
