"""Average foreground and background activation (AFA, ABA): how strongly a network responds to objects and background.

They are from Fig. 1 of DEFT ("Disentangled Feature Swapping Augmentation for Weakly Supervised Semantic Segmentation").
The paper says no more than "before the last batch norm" and "invariant to scale"; here the input of that norm is
averaged over channels, then over each region of the image, so that a large object counts as much as a small one, then
over images. The input of a batch norm is signed, and the paper does not say whether it is rectified first: this is left
to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Regions:
    """Object and background pixels of one image; a pixel can be in neither region."""

    foreground: NDArray[np.bool_]
    """Object pixels, (H, W)."""
    background: NDArray[np.bool_]
    """Background pixels, (H, W)."""


def regions(
    mask: NDArray[np.uint8], target: int | None = None, context: NDArray[np.uint8] | None = None, context_index: int = 0
) -> Regions:
    """The object and background regions of an image.

    Args:
        mask: ground truth, (H, W): 0 background, k + 1 for class k, 255 ignored.
        target: class index of the object; None takes all classes.
        context: ground-truth contexts, (H, W): 0 object, j + 1 for context j, 255 ignored; None takes the whole
            background.
        context_index: index of the context that is the background region, if ``context`` is given.

    Raises:
        ValueError: the two masks differ in size.
    """
    if context is not None and context.shape != mask.shape:
        raise ValueError(f"expected a context mask of the mask's size {mask.shape}, got {context.shape}")
    foreground = (mask > 0) & (mask != 255) if target is None else mask == target + 1
    return Regions(foreground, mask == 0 if context is None else context == context_index + 1)


def on_grid(region: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """A region (H, W) resized to a grid (h, w) by nearest-neighbour sampling."""
    height, width = region.shape
    rows, columns = np.arange(grid[0]) * height // grid[0], np.arange(grid[1]) * width // grid[1]
    cells: NDArray[np.bool_] = region[np.ix_(rows, columns)]
    return cells


def average_activation(
    activation: Sequence[NDArray[np.float32]], where: Sequence[Regions]
) -> tuple[float, float, int, int]:
    """AFA and ABA.

    Args:
        activation: activation of each image, averaged over channels, (h, w).
        where: the regions of each image.

    Returns:
        AFA, ABA, and the number of images that each is averaged over; nan if no image has cells in the region.

    Raises:
        ValueError: the numbers of images and of regions differ.

    >>> mask = np.array([[True, False], [False, False]])
    >>> average_activation([np.array([[4.0, 1.0], [2.0, 3.0]], dtype=np.float32)], [Regions(mask, ~mask)])
    (4.0, 2.0, 1, 1)
    """
    if len(activation) != len(where):
        raise ValueError(f"expected one Regions per image, got {len(activation)} images and {len(where)} regions")
    means: tuple[list[float], list[float]] = [], []
    for values, region in zip(activation, where, strict=True):
        for found, part in zip(means, (region.foreground, region.background), strict=True):
            cells = on_grid(part, (values.shape[0], values.shape[1]))
            if cells.any():
                found.append(float(values[cells].mean(dtype=np.float64)))
    afa, aba = (float(np.mean(found)) if found else float("nan") for found in means)
    return afa, aba, len(means[0]), len(means[1])


def pearson(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation of two curves, in [-1, 1]; nan for fewer than 2 common points, or a constant curve.

    Raises:
        ValueError: the curves differ in length.

    >>> pearson([1, 2, 3], [2, 4, 6])
    1.0
    """
    if len(first) != len(second):
        raise ValueError(f"expected two curves of the same length, got {len(first)} and {len(second)} points")
    both = np.array([first, second], dtype=np.float64)
    both = both[:, np.isfinite(both).all(axis=0)]
    if both.shape[1] < 2:
        return float("nan")
    both -= both.mean(axis=1, keepdims=True)
    x, y = both
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip((x @ y) / norm, -1, 1)) if norm > 0 else float("nan")
