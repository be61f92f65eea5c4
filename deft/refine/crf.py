"""Fully connected CRF with Gaussian edge potentials, solved by mean field on a permutohedral lattice.

Kraehenbuehl and Koltun, 2011, arXiv:1210.5644; the lattice is :mod:`deft.refine.lattice`. Two kernels, a spatial one
over positions and a bilateral one over positions and colours, Potts compatibility, symmetric normalisation: the same
numbers as the authors' C++ code up to rounding. It is meant for the labels that occur in an image: its cost grows with
their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.ranges import Factor, Range, Weight, check_ranges
from deft.refine.lattice import Lattice, build_lattice

KEPT_PIXELS = 1_000_000
"""Up to this image size the spatial kernel is cached for the next image of that size, at 60 bytes per pixel."""


@dataclass(frozen=True)
class DenseCrf:
    """Settings of the CRF; the defaults are those of IRN (Ahn et al., 2019, arXiv:1904.05044)."""

    iterations: Annotated[int, Range(0, 10_000)] = 10
    """Number of mean-field iterations."""
    gaussian_sxy: Factor = 3.0
    """Standard deviation of the spatial kernel, in pixels."""
    gaussian_compat: Weight = 3.0
    """Weight of the spatial kernel; 0 leaves it out."""
    bilateral_sxy: Factor = 50.0
    """Spatial standard deviation of the bilateral kernel, in pixels."""
    bilateral_srgb: Factor = 5.0
    """Colour standard deviation of the bilateral kernel, in intensity levels of 0 to 255."""
    bilateral_compat: Weight = 10.0
    """Weight of the bilateral kernel; 0 leaves it out."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)


def unary_from_labels(labels: Tensor, count: int, certainty: float) -> Tensor:
    """Unary energies of a label map that is correct with a given probability.

    Args:
        labels: integer (..., H, W) in [0, count).
        count: number of labels L, 2 or more.
        certainty: probability of the given label, in (0, 1); the rest is shared equally by the others.

    Returns:
        Negative log probabilities, float32 (..., L, H, W).
    """
    if count < 2 or not 0 < certainty < 1:
        raise ValueError(f"expected at least 2 labels and a certainty in (0, 1), got {count} and {certainty}")
    chosen = labels.unsqueeze(-3) == torch.arange(count, device=labels.device).view(-1, 1, 1)
    other = -math.log((1 - certainty) / (count - 1))
    return torch.full(chosen.shape, other, device=labels.device).masked_fill_(chosen, -math.log(certainty))


def unary_from_probabilities(probabilities: Tensor) -> Tensor:
    """Unary energies of probabilities (..., L, H, W): their negative log, after clamping them to at least 1e-5."""
    return -probabilities.clamp(1e-5, 1.0).log()


def dense_crf(unary: Tensor, image: NDArray[np.uint8], settings: DenseCrf) -> Tensor:
    """Probability of each label at each pixel.

    Args:
        unary: energies (negative log probabilities), float (L, H, W), or (B, L, H, W) for B problems on one image,
            for which the kernels are built once.
        image: RGB, (H, W, 3).
        settings: kernels and number of iterations.

    Returns:
        Probabilities, float32, in the shape of ``unary``; they sum to 1 over L.

    Raises:
        ValueError: the sizes of ``unary`` and ``image`` differ.
    """
    if unary.ndim not in (3, 4) or unary.shape[-2:] != image.shape[:2] or image.shape[2:] != (3,):
        raise ValueError(
            "expected unary (L, H, W) or (B, L, H, W) and an RGB image (H, W, 3), "
            f"got {tuple(unary.shape)} and {image.shape}"
        )
    problems, labels = unary[None] if unary.ndim == 3 else unary, unary.shape[-3]
    # (N, B L): one row per pixel, so that a sparse product reads each matrix entry once.
    energy = -problems.float().flatten(2).permute(2, 0, 1).flatten(1).contiguous()
    lattices = _kernels(image, settings, unary.device)
    belief = _softmax(energy, labels)
    for _ in range(settings.iterations):
        total = energy.clone()
        for lattice in lattices:
            total += lattice.filter(belief)
        belief = _softmax(total, labels)
    return belief.T.reshape(unary.shape)


def _softmax(energy: Tensor, labels: int) -> Tensor:
    """Softmax over each group of ``labels`` consecutive columns of (N, B L)."""
    parts = energy.view(len(energy), -1, labels)
    if labels >= 16 or energy.is_cuda:
        return parts.softmax(dim=2).view_as(energy)
    # On a CPU torch's softmax is slow along dimensions shorter than a vector register.
    return parts.permute(2, 1, 0).contiguous().softmax(dim=0).permute(2, 1, 0).reshape(energy.shape)


def _kernels(image: NDArray[np.uint8], settings: DenseCrf, device: torch.device) -> list[Lattice]:
    """Filter of each kernel in use, including its weight and symmetric normalisation."""
    height, width = image.shape[:2]
    kernels = []
    if settings.gaussian_compat != 0:
        # It depends only on the size of the image, which many images share.
        build = _spatial_kernel if height * width <= KEPT_PIXELS else _spatial_kernel.__wrapped__
        kernels.append(build(height, width, settings.gaussian_sxy, settings.gaussian_compat, device))
    if settings.bilateral_compat != 0:
        colours = torch.as_tensor(image, device=device).reshape(-1, 3).T.float()
        features = [_positions(height, width, device) / settings.bilateral_sxy, colours / settings.bilateral_srgb]
        kernels.append(_normalised(torch.cat(features), settings.bilateral_compat))
    return kernels


@lru_cache(maxsize=4)
def _spatial_kernel(height: int, width: int, deviation: float, compat: float, device: torch.device) -> Lattice:
    """The spatial kernel of images of a size."""
    return _normalised(_positions(height, width, device) / deviation, compat)


def _positions(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row of each pixel, float (2, N)."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([columns.flatten(), rows.flatten()]).float()


def _normalised(features: Tensor, compat: float) -> Lattice:
    """Gaussian filter over points (d, N) with symmetric normalisation, times ``compat``."""
    lattice = build_lattice(features)
    norm = (lattice.filter(features.new_ones(features.shape[1], 1)) + 1e-20).rsqrt().view(-1)
    return lattice.scaled(norm, norm * compat)
