"""Fully connected CRF with Gaussian edge potentials, solved by mean field on a permutohedral lattice.

Kraehenbuehl and Koltun, 2011, arXiv:1210.5644; the lattice is that of Adams, Baek and Davis, 2010. Two kernels, one
over places and one over places and colours, Potts compatibility, symmetric normalisation: the same numbers as the
authors' C++ code up to rounding. It differs in being made of a few sparse products, so that it runs wherever torch
runs, and in being meant for the labels that an image really has: its cost grows with their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.contracts import InputError
from deft.refine.lattice import Lattice, build_lattice

KEPT_PIXELS = 1_000_000
"""Images up to so many have their kernel over places kept for the next one of their size; it takes 60 bytes a pixel."""


@dataclass(frozen=True)
class DenseCrf:
    """Settings of the CRF; the defaults are those of IRN (Ahn et al., 2019, arXiv:1904.05044)."""

    iterations: int = 10
    """Mean-field steps."""
    gaussian_sxy: float = 3.0
    """Reach of the kernel over places, in pixels (one standard deviation)."""
    gaussian_compat: float = 3.0
    """Weight of the kernel over places; 0 leaves it out."""
    bilateral_sxy: float = 50.0
    """Reach of the kernel over places and colours, in pixels."""
    bilateral_srgb: float = 5.0
    """Reach of the kernel over places and colours, in grey levels of 0 to 255."""
    bilateral_compat: float = 10.0
    """Weight of the kernel over places and colours; 0 leaves it out."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.iterations < 0:
            raise InputError(f"iterations of the CRF must be 0 or more, got {self.iterations}")
        if min(self.gaussian_sxy, self.bilateral_sxy, self.bilateral_srgb) <= 0:
            raise InputError(f"every reach of the CRF (..._sxy, ..._srgb) must be above 0, got {self}")


def unary_from_labels(labels: Tensor, count: int, certainty: float) -> Tensor:
    """Energies of a label map that is right with a given probability.

    Args:
        labels: integer (..., H, W) in [0, count).
        count: number of labels L, 2 or more.
        certainty: probability of the given label, in (0, 1); the others share the rest.

    Returns:
        Negative log probabilities, float32 (..., L, H, W).
    """
    if count < 2 or not 0 < certainty < 1:
        raise ValueError(f"expected 2 labels or more and a certainty in (0, 1), got {count} and {certainty}")
    chosen = labels.unsqueeze(-3) == torch.arange(count, device=labels.device).view(-1, 1, 1)
    other = -math.log((1 - certainty) / (count - 1))
    return torch.full(chosen.shape, other, device=labels.device).masked_fill_(chosen, -math.log(certainty))


def unary_from_probabilities(probabilities: Tensor) -> Tensor:
    """Negative log of probabilities (..., L, H, W), which are first raised to at least 1e-5."""
    return -probabilities.clamp(1e-5, 1.0).log()


def dense_crf(unary: Tensor, image: NDArray[np.uint8], settings: DenseCrf) -> Tensor:
    """Probability of each label at each pixel.

    Args:
        unary: energies (negative log probabilities), float (L, H, W), or (B, L, H, W) for B problems on one image,
            which then share the work on the image.
        image: RGB, (H, W, 3).
        settings: kernels and number of steps.

    Returns:
        Probabilities, float32, shaped as ``unary``, which sum to 1 over L.

    Raises:
        ValueError: the sizes of ``unary`` and ``image`` differ.
    """
    if unary.ndim not in (3, 4) or unary.shape[-2:] != image.shape[:2] or image.shape[2:] != (3,):
        raise ValueError(
            "expected unary (L, H, W) or (B, L, H, W) and an RGB image (H, W, 3), "
            f"got {tuple(unary.shape)} and {image.shape}"
        )
    problems, labels = unary[None] if unary.ndim == 3 else unary, unary.shape[-3]
    # (N, B L): one row holds all that belongs to a pixel, so that a product meets each entry of a matrix once.
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
    """Softmax over each ``labels`` neighbours of rows (N, B L)."""
    parts = energy.view(len(energy), -1, labels)
    if labels >= 16 or energy.is_cuda:
        return parts.softmax(dim=2).view_as(energy)
    # On a CPU torch is slow along rows shorter than its vectors.
    return parts.permute(2, 1, 0).contiguous().softmax(dim=0).permute(2, 1, 0).reshape(energy.shape)


def _kernels(image: NDArray[np.uint8], settings: DenseCrf, device: torch.device) -> list[Lattice]:
    """Filter of each kernel in use, with its weight and its symmetric normalisation in it."""
    height, width = image.shape[:2]
    kernels = []
    if settings.gaussian_compat != 0:
        # It knows nothing of the image but its size, which photographs share.
        build = _over_places if height * width <= KEPT_PIXELS else _over_places.__wrapped__
        kernels.append(build(height, width, settings.gaussian_sxy, settings.gaussian_compat, device))
    if settings.bilateral_compat != 0:
        colours = torch.as_tensor(image, device=device).reshape(-1, 3).T.float()
        features = [_places(height, width, device) / settings.bilateral_sxy, colours / settings.bilateral_srgb]
        kernels.append(_normalised(torch.cat(features), settings.bilateral_compat))
    return kernels


@lru_cache(maxsize=4)
def _over_places(height: int, width: int, reach: float, compat: float, device: torch.device) -> Lattice:
    """The kernel over places of any image of that size."""
    return _normalised(_places(height, width, device) / reach, compat)


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row of each pixel, float (2, N)."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([columns.flatten(), rows.flatten()]).float()


def _normalised(features: Tensor, compat: float) -> Lattice:
    """Filter over points (d, N) with symmetric normalisation, times ``compat``."""
    lattice = build_lattice(features)
    norm = (lattice.filter(features.new_ones(features.shape[1], 1)) + 1e-20).rsqrt().view(-1)
    return lattice.scaled(norm, norm * compat)
