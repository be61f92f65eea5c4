"""Average foreground and background activation: how much a classifier looks at things, and how much at their ground.

AFA and ABA of Fig. 1 of DEFT ("Disentangled Feature Swapping Augmentation for Weakly Supervised Semantic
Segmentation"). The paper says "before the last batch norm" and "invariant to scale" and no more; read here
as the mean over channels of what enters that norm, then the mean over each region of the image, so that a large object
counts as much as a small one, then the mean over images. What enters a batch norm is signed: whether it is rectified
first is the caller's choice, for the paper does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Regions:
    """Where in one image the object is, and where its ground; a pixel can be in neither."""

    foreground: NDArray[np.bool_]
    """(H, W)."""
    background: NDArray[np.bool_]
    """(H, W)."""


def regions(
    mask: NDArray[np.uint8], target: int | None = None, context: NDArray[np.uint8] | None = None, ground: int = 0
) -> Regions:
    """The object and its ground.

    Args:
        mask: truth, (H, W): 0 background, k + 1 for class k, 255 ignored.
        target: class index of the object; None takes every class.
        context: context truth, (H, W): 0 object, j + 1 for context j, 255 ignored; None takes all background.
        ground: context index, where ``context`` is given.

    Raises:
        ValueError: the two masks differ in size.
    """
    if context is not None and context.shape != mask.shape:
        raise ValueError(f"the mask is {mask.shape} and the context mask {context.shape}: they must be the same size")
    foreground = (mask > 0) & (mask != 255) if target is None else mask == target + 1
    return Regions(foreground, mask == 0 if context is None else context == ground + 1)


def on_grid(region: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """A region (H, W) read at the nearest pixel of each cell of a grid (h, w)."""
    height, width = region.shape
    rows, columns = np.arange(grid[0]) * height // grid[0], np.arange(grid[1]) * width // grid[1]
    cells: NDArray[np.bool_] = region[np.ix_(rows, columns)]
    return cells


def average_activation(
    activation: Sequence[NDArray[np.float32]], where: Sequence[Regions]
) -> tuple[float, float, int, int]:
    """AFA and ABA.

    Args:
        activation: of each image, mean over channels, (h, w).
        where: the regions of each image.

    Returns:
        AFA, ABA, and the number of images that each is a mean of; nan where no image shows the region on its grid.

    Raises:
        ValueError: there is not one ``Regions`` an image.

    >>> thing = np.array([[True, False], [False, False]])
    >>> average_activation([np.array([[4.0, 1.0], [2.0, 3.0]], dtype=np.float32)], [Regions(thing, ~thing)])
    (4.0, 2.0, 1, 1)
    """
    if len(activation) != len(where):
        raise ValueError(f"expected the regions of each image, got {len(activation)} images and {len(where)} regions")
    means: tuple[list[float], list[float]] = [], []
    for values, region in zip(activation, where, strict=True):
        for found, part in zip(means, (region.foreground, region.background), strict=True):
            cells = on_grid(part, (values.shape[0], values.shape[1]))
            if cells.any():
                found.append(float(values[cells].mean(dtype=np.float64)))
    afa, aba = (float(np.mean(found)) if found else float("nan") for found in means)
    return afa, aba, len(means[0]), len(means[1])


def pearson(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation of two curves, in [-1, 1]; nan for fewer than 2 points in both, or a flat curve.

    Raises:
        ValueError: the curves differ in length.

    >>> pearson([1, 2, 3], [2, 4, 6])
    1.0
    """
    if len(first) != len(second):
        raise ValueError(f"expected two curves of one length, got {len(first)} and {len(second)} points")
    both = np.array([first, second], dtype=np.float64)
    both = both[:, np.isfinite(both).all(axis=0)]
    if both.shape[1] < 2:
        return float("nan")
    both -= both.mean(axis=1, keepdims=True)
    x, y = both
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip((x @ y) / norm, -1, 1)) if norm > 0 else float("nan")
