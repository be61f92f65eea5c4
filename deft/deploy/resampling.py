"""Bicubic resizing inside an exported graph, for sizes that are known only when the graph runs.

The filter is that of Pillow and of torch's antialiased interpolation, written as two matrix products: few runtimes have
an antialiased resize, and all of them multiply matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SHARPNESS = -0.5
"""The parameter a of Keys' cubic kernel (Keys, 1981), as in Pillow."""


def resize(images: Tensor, size: tuple[int, int], *, whole: bool = False) -> Tensor:
    """Resize images bicubically, averaging where they shrink.

    Args:
        images: float (N, 3, H, W) in 0..255.
        size: (h, w) wanted; both may be symbolic.
        whole: round to whole numbers after either direction, as Pillow does.

    Returns:
        Images (N, 3, h, w) in 0..255.
    """
    if not whole:
        return cubic(images, size).clamp(0, 255)
    rows, columns = _weights(images, size)
    return (rows @ (images @ columns.T).round().clamp(0, 255)).round().clamp(0, 255)


def cubic(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Like :func:`resize`, for maps (N, C, H, W) of any values, which are not limited: to (N, C, h, w)."""
    rows, columns = _weights(maps, size)
    return rows @ (maps @ columns.T)


def _weights(maps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Weights of rows (h, H) and columns (w, W)."""
    return cubic_weights(maps.shape[-2], size[0]), cubic_weights(maps.shape[-1], size[1])


def cubic_weights(old: int, new: int) -> Tensor:
    """Weights (new, old) of the pixels of a row in those of the resized row; each row of weights sums to 1."""
    ratio = torch.full((), old, dtype=torch.float32) / torch.full((), new, dtype=torch.float32)
    centre = (torch.arange(new) + 0.5) * ratio
    distance = (torch.arange(old)[None] + 0.5 - centre[:, None]) / ratio.clamp(min=1)
    weights = _kernel(distance.abs())
    return weights / weights.sum(dim=1, keepdim=True)


def _kernel(x: Tensor) -> Tensor:
    a = _SHARPNESS
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
