"""Fully connected CRF with Gaussian edge potentials, solved by mean field on a permutohedral lattice.

Kraehenbuehl and Koltun, 2011, arXiv:1210.5644; the lattice is that of Adams, Baek and Davis, 2010. Two kernels, one
over places and one over places and colours, Potts compatibility, symmetric normalisation: the same numbers as the
authors' C++ code up to rounding. It differs in being made of a few sparse products, so that it runs wherever torch
runs, and in being meant for the labels that an image really has: its cost grows with their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.contracts import InputError
from deft.refine.sparse_rows import ragged_matrix, row_matrix


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
    problems = unary.float().reshape(-1, unary.shape[-3], unary.shape[-2] * unary.shape[-1])
    kernels = _kernels(image, settings, unary.device)
    energy = -problems  # (B, L, N): the labels lead, so that the softmax runs along whole rows of pixels
    belief = energy.softmax(dim=1)
    for _ in range(settings.iterations):
        spread = belief.flatten(0, 1).T.contiguous()
        total = energy.flatten(0, 1).T.contiguous()
        for compat, norm, lattice in kernels:
            total.addcmul_(norm, lattice.filter(norm * spread), value=compat)
        belief = total.T.contiguous().view_as(energy).softmax(dim=1)
    return belief.view(unary.shape)


def _kernels(image: NDArray[np.uint8], settings: DenseCrf, device: torch.device) -> list[tuple[float, Tensor, Lattice]]:
    """Weight, symmetric normalisation (N, 1) and lattice of each kernel in use."""
    height, width = image.shape[:2]
    colours = torch.as_tensor(image, device=device).reshape(-1, 3).T.float()
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    places = torch.stack([columns.flatten(), rows.flatten()]).float()
    wanted = [
        (settings.gaussian_compat, places / settings.gaussian_sxy),
        (settings.bilateral_compat, torch.cat([places / settings.bilateral_sxy, colours / settings.bilateral_srgb])),
    ]
    kernels = []
    for compat, features in wanted:
        if compat != 0:
            lattice = build_lattice(features)
            norm = (lattice.filter(torch.ones(height * width, 1, device=device)) + 1e-20).rsqrt()
            kernels.append((compat, norm, lattice))
    return kernels


@dataclass(frozen=True)
class Lattice:
    """Gaussian filter over N points as sparse products: onto the lattice, along its axes, back to the points."""

    splat: Tensor
    """CSR (V, N): value of each lattice vertex from the points in the simplices around it."""
    blurs: tuple[Tensor, ...]
    """CSR (V, V), one for each of the d + 1 axes: 1/2, 1, 1/2."""
    slice: Tensor
    """CSR (N, V): value of each point from the vertices of its simplex."""

    def filter(self, values: Tensor) -> Tensor:
        """Sum over all points weighted with exp(-|f_i - f_j|^2 / 2), approximately; values float32 (N, L)."""
        values = self.splat @ values
        for blur in self.blurs:
            values = blur @ values
        return self.slice @ values


def build_lattice(features: Tensor) -> Lattice:
    """Permutohedral lattice around points given in units of standard deviations.

    Args:
        features: float32 (d, N), d of 1 or more.

    Returns:
        The filter, on the device of ``features``.

    Raises:
        ValueError: the points reach too many standard deviations apart for vertices to be numbered in 64 bits.
    """
    dims, points = features.shape
    corner, rank, weights = _simplices(features)
    keys, steps = _vertex_keys(corner, rank)
    ordered, order = keys.flatten().sort()
    vertices, owner, counts = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    vertex = torch.empty_like(owner).index_copy_(0, order, owner)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Lattice(
        splat=ragged_matrix(starts, order // (dims + 1), weights.flatten()[order], points),
        blurs=tuple(_blur(vertices, step) for step in steps),
        slice=row_matrix(vertex.view(points, dims + 1), weights / (1 + 2.0**-dims), len(vertices)),
    )


def _simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Simplex of each point: vertex of remainder 0 and rank of each axis, int64 (d + 1, N), and weights (N, d + 1)."""
    dims, points = features.shape
    place = torch.arange(1, dims + 1, device=features.device).view(-1, 1)
    # The blur along the axes has a variance of its own; this scale makes it that of the unit Gaussian.
    scaled = features * (math.sqrt(2 / 3) * (dims + 1) / (place * (place + 1)).float().sqrt())
    beyond = scaled.flip(0).cumsum(0).flip(0)
    elevated = features.new_zeros(dims + 1, points)
    elevated[:-1] = beyond
    elevated[1:] -= place * scaled

    nearest = (elevated / (dims + 1)).round()
    residue = elevated - nearest * (dims + 1)
    excess = nearest.sum(0).long()
    rank = torch.zeros(dims + 1, points, dtype=torch.int64, device=features.device)
    for i in range(dims):
        for j in range(i + 1, dims + 1):
            lower = residue[i] < residue[j]
            rank[i] += lower
            rank[j] += ~lower
    rank += excess
    shift = (rank < 0).long() - (rank > dims).long()
    rank += shift * (dims + 1)
    corner = (nearest.long() + shift) * (dims + 1)

    offset = (elevated - corner) / (dims + 1)
    by_rank = torch.empty_like(offset).scatter_(0, rank, offset)
    weights = torch.empty_like(offset)
    weights[0] = 1 + by_rank[dims] - by_rank[0]
    weights[1:] = (by_rank[:-1] - by_rank[1:]).flip(0)
    return corner, rank, weights.T.contiguous()


def _vertex_keys(corner: Tensor, rank: Tensor) -> tuple[Tensor, list[int]]:
    """One number for each vertex of each point's simplex, int64 (N, d + 1), and what to add for a step along each axis.

    A vertex is its first d coordinates (all d + 1 sum to zero). They are packed as digits of one number with room for a
    step beyond the outermost vertex, so that steps are additions and no two vertices share a number.
    """
    dims = len(corner) - 1
    low, high = (bound.tolist() for bound in torch.aminmax(corner[:dims], dim=1))
    places, room = [], 1
    for least, most in zip(low, high, strict=True):
        places.append(room)
        room *= most - least + 4 * dims + 1
    if room >= 2**62:
        raise ValueError("the CRF's reach is too small for this image: raise bilateral_srgb or the ..._sxy of the CRF")

    digits = torch.tensor([*places, 0], device=corner.device)
    origin = torch.tensor([least - 2 * dims for least in low], device=corner.device)
    key = ((corner[:dims] - origin.view(-1, 1)) * digits[:dims].view(-1, 1)).sum(0)
    # Going from remainder r - 1 to r raises every coordinate by 1, and lowers that of rank d + 1 - r by d + 1.
    digit_by_rank = torch.empty_like(rank).scatter_(0, rank, digits.view(-1, 1).expand_as(rank))
    keys = torch.empty_like(rank)
    keys[0] = key
    keys[1:] = sum(places) - (dims + 1) * digit_by_rank[1:].flip(0)
    return keys.cumsum(0).T.contiguous(), [(dims + 1) * int(digit) - sum(places) for digit in digits.tolist()]


def _blur(vertices: Tensor, step: int) -> Tensor:
    """Matrix of the blur along one axis: 1 for the vertex, 1/2 for each neighbour that exists; vertices rise, (V,)."""
    count = len(vertices)
    here = torch.arange(count, device=vertices.device)
    columns = here.repeat(3, 1)
    weights = torch.zeros(3, count, device=vertices.device)
    weights[1] = 1.0
    after = torch.searchsorted(vertices, vertices + step).clamp_(max=count - 1)
    linked = vertices[after] == vertices + step
    columns[2] = torch.where(linked, after, here)
    weights[2] = 0.5 * linked
    columns[0, after[linked]] = here[linked]
    weights[0, after[linked]] = 0.5
    return row_matrix(columns.T, weights.T, count)
