"""Images in a small grid of cells, and the saliency of cells, from the gradient of the classifier's own loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from deft.contracts import InputError


def cell_saliency(gradient: Tensor, cells: int) -> Tensor:
    """Share of each cell in the saliency of its image, (N, cells, cells), of sum 1.

    The saliency of a pixel is the length of the gradient over its colours. An image without any has it everywhere.

    Args:
        gradient: of each image's loss, (N, 3, H, W).
        cells: number of cells in each direction.

    Raises:
        InputError: H or W is no multiple of ``cells``.
    """
    height, width = gradient.shape[-2:]
    if height % cells or width % cells:
        raise InputError(
            f"expected crops whose sides are multiples of {cells}, got {height} x {width}; set classifier.augment.cells"
        )
    length = torch.linalg.vector_norm(gradient.float(), dim=1, keepdim=True).double()
    mean = F.avg_pool2d(length, (height // cells, width // cells))[:, 0]
    total = mean.sum(dim=(1, 2), keepdim=True)
    found: Tensor = torch.where(total > 0, mean / total, 1 / cells**2)
    return found


def to_pixels(cells: Tensor, x: Tensor) -> Tensor:
    """Values of cells (N, h, w), each repeated over its pixels, (N, 1, H, W), for images ``x`` (N, 3, H, W)."""
    return F.interpolate(cells[:, None], size=x.shape[-2:], mode="nearest").to(x.dtype)


def cut(x: Tensor, cells: int) -> Tensor:
    """The cells of images (N, 3, H, W), row by row, (N, cells ** 2, 3, H / cells, W / cells)."""
    count, colours, height, width = x.shape
    pieces = x.reshape(count, colours, cells, height // cells, cells, width // cells)
    return pieces.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def joined(pieces: Tensor) -> Tensor:
    """Images (N, 3, H, W) of their cells, as :func:`cut` returns them."""
    cells = math.isqrt(pieces.shape[1])
    rows = pieces.reshape(len(pieces), cells, cells, *pieces.shape[2:])
    return rows.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
