"""Views of an image for a network, and resampling of feature cells to the grid on which seeds are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deft.engine.parts import large_in_parts
from deft.seedmaps import STRIDE


def pixels(image: NDArray[np.uint8], device: torch.device) -> Tensor:
    """An RGB image (H, W, 3) as float (1, 3, H, W) in 0..255."""
    return torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float()


def resize(pixels: Tensor, scale: float, stride: int, extra: int) -> Tensor:
    """Resize images (N, 3, H, W) to about ``scale``, with sides of k * stride + ``extra``.

    At sizes of k * stride + 1 cell j of a network that pads its convolutions is centred on pixel j * stride, whether it
    pads like torch or like TensorFlow, and the cells of the mirrored view coincide with those of the original view; at
    other sizes they are up to a cell apart, which blurs their sum. For networks that see patches that holds at sizes of
    k * stride.

    Args:
        pixels: images.
        scale: factor.
        stride: pixels per cell.
        extra: :attr:`deft.backbone.Backbone.extra` of the network.
    """
    size = [max(1, round(side * scale / stride)) * stride + extra for side in pixels.shape[-2:]]
    return F.interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)


def last_map(backbone: Callable[[Tensor], Sequence[Tensor]], views: Tensor) -> Tensor:
    """Last feature map of views (N, 3, H, W)."""
    views = views.contiguous(memory_format=torch.channels_last)
    last: Tensor = large_in_parts(lambda part: backbone(part)[-1], views)
    return last


def all_maps(backbone: Callable[[Tensor], Sequence[Tensor]], views: Tensor) -> Sequence[Tensor]:
    """All feature maps of views (N, 3, H, W), shallow to deep."""
    return large_in_parts(backbone, views.contiguous(memory_format=torch.channels_last))


def on_grid(maps: Tensor, seen: tuple[int, int], size: tuple[int, int], extra: int) -> Tensor:
    """Resample maps (..., h, w) of a view of ``seen`` pixels (H', W') to the grid of its image of ``size`` pixels.

    ``extra`` is that of the view, see :func:`resize`.
    """
    rows, columns = (
        sampling(cells, view, side, STRIDE, extra).to(maps)
        for cells, view, side in zip(maps.shape[-2:], seen, size, strict=True)
    )
    return rows @ maps @ columns.T


def sampling(cells: int, seen: int, side: int, stride: int, extra: int) -> Tensor:
    """Weights (g, cells) that interpolate a row of cells linearly at every ``stride``-th of ``side`` pixels.

    Args:
        cells: number of cells of the feature map.
        seen: pixels of the resized view.
        side: pixels of the image.
        stride: distance of the sampling points, in pixels of the image.
        extra: 1 if the first and last cell are centred on the first and last pixel seen; 0 if cells are equal parts of
            the view, centred on their middles.
    """
    pixel = stride * torch.arange((side - 1) // stride + 1)  # a step in arange cannot be exported
    if extra:
        place = ((pixel + 0.5) * seen / side - 0.5) * (cells - 1) / (seen - 1)
    else:
        place = (pixel + 0.5) * cells / side - 0.5
    return (1 - (place.clamp(0, cells - 1)[:, None] - torch.arange(cells)).abs()).clamp(min=0)
