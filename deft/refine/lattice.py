"""Gaussian filter in many dimensions on a permutohedral lattice (Adams, Baek and Davis, 2010).

Unlike the authors' C++ code it is made of a few sparse matrix products, so that it runs wherever torch runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deft.refine.sparse_rows import product, ragged_matrix, row_matrix, with_weights


@dataclass(frozen=True)
class Lattice:
    """Gaussian filter over N points as sparse products: onto the lattice, along its axes, back to the points."""

    splat: Tensor
    """CSR (V + 1, N): value of each lattice vertex from the points in the simplices around it; the last stays 0."""
    blurs: tuple[Tensor, ...]
    """CSR (V + 1, V + 1), one for each of the d + 1 axes: 1/2, 1, 1/2."""
    slice: Tensor
    """CSR (N, V + 1): value of each point from the vertices of its simplex."""

    def filter(self, values: Tensor) -> Tensor:
        """Sum over all points weighted with exp(-|f_i - f_j|^2 / 2), approximately; values float32 (N, L)."""
        values = product(self.splat, values)
        for blur in self.blurs:
            values = product(blur, values)
        return product(self.slice, values)

    def scaled(self, before: Tensor, after: Tensor) -> Lattice:
        """The filter of points multiplied by ``before``, its result multiplied by ``after``, both (N,)."""
        points = len(after)
        corners = self.slice.values().view(points, -1)
        return replace(
            self,
            splat=with_weights(self.splat, self.splat.values() * before.index_select(0, self.splat.col_indices())),
            slice=with_weights(self.slice, (corners * after.view(-1, 1)).view(-1)),
        )


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
    keys, steps, room = _vertex_keys(corner, rank)
    ordered, order = _sort(keys.flatten(), room)
    vertices, owner, counts = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    vertex = torch.empty_like(owner).scatter_(0, order, owner)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0), counts.new_full((1,), len(order))])
    return Lattice(
        splat=ragged_matrix(starts, order % points, weights.flatten().index_select(0, order), points),
        blurs=_blurs(vertices, steps),
        slice=row_matrix(vertex.view(dims + 1, points).T, weights.T / (1 + 2.0**-dims), len(vertices) + 1),
    )


def _simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Simplex of each point: vertex of remainder 0 in multiples of d + 1, rank of each axis, weights; (d + 1, N)."""
    dims, points = features.shape
    place = torch.arange(1, dims + 1, device=features.device).view(-1, 1)
    # The blur along the axes has a variance of its own; this scale makes it that of the unit Gaussian.
    scaled = features * (math.sqrt(2 / 3) * (dims + 1) / (place * (place + 1)).float().sqrt())
    elevated = features.new_zeros(dims + 1, points)
    elevated[:-1] = scaled.flip(0).cumsum(0).flip(0)
    elevated[1:] -= place * scaled

    nearest = (elevated / (dims + 1)).round()
    residue = elevated - nearest * (dims + 1)
    rank = torch.arange(dims + 1, device=features.device, dtype=torch.int8).view(-1, 1).repeat(1, points)
    for i in range(dims):
        for j in range(i + 1, dims + 1):
            lower = (residue[i] < residue[j]).view(torch.int8)
            rank[i] += lower
            rank[j] -= lower
    rank += nearest.sum(0).to(torch.int8)
    shift = (rank < 0).view(torch.int8) - (rank > dims).view(torch.int8)
    rank += shift * (dims + 1)
    nearest += shift
    ranks = rank.long()

    offset = elevated / (dims + 1) - nearest
    by_rank = torch.empty_like(offset).scatter_(0, ranks, offset)
    weights = torch.empty_like(offset)
    weights[0] = 1 + by_rank[dims] - by_rank[0]
    weights[1:] = (by_rank[:-1] - by_rank[1:]).flip(0)
    return nearest, ranks, weights


def _vertex_keys(corner: Tensor, rank: Tensor) -> tuple[Tensor, list[int], int]:
    """Number of each vertex of each point's simplex, int64 (d + 1, N), of a step along each axis, and their bound.

    Every vertex is a sum of whole steps along the first d axes, a step along the last being minus the sum of them all.
    These d counts are the digits of its number, with room for a step beyond the outermost vertex, so that steps are
    additions and no two vertices share a number.
    """
    dims = len(corner) - 1
    counts = (corner[dims] - corner[:dims]).long()
    low, high = (bound.tolist() for bound in torch.aminmax(counts, dim=1))
    steps, room = [], 1
    for least, most in zip(low, high, strict=True):
        steps.append(room)
        room *= int(most - least) + 5
    if room >= 2**62:
        raise ValueError("the CRF's reach is too small for this image: raise bilateral_srgb or the ..._sxy of the CRF")
    steps.append(-sum(steps))
    digits = torch.tensor(steps, device=corner.device).view(-1, 1)
    origin = torch.tensor([least - 2 for least in low], device=corner.device).view(-1, 1)
    # Going from remainder r - 1 to r is a step along the axis of rank d + 1 - r.
    step_by_rank = torch.empty_like(rank).scatter_(0, rank, digits.expand_as(rank))
    keys = torch.empty_like(rank)
    keys[0] = ((counts - origin) * digits[:dims]).sum(0)
    for remainder in range(1, dims + 1):
        torch.add(keys[remainder - 1], step_by_rank[dims + 1 - remainder], out=keys[remainder])
    return keys, steps, room


def _sort(keys: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """Sorted numbers, in [0, room), and the place where each was, both int64 (E,)."""
    bits = len(keys).bit_length()
    if keys.is_cuda or room >= 2 ** (63 - bits):
        ordered, order = keys.sort()
        return ordered, order
    # NumPy sorts plain numbers, into which the places fit, in a tenth of the time of any sort that returns places.
    packed = (keys << bits) + torch.arange(len(keys))
    packed = torch.from_numpy(np.sort(packed.numpy()))
    return packed >> bits, packed & (2**bits - 1)


def _blurs(vertices: Tensor, steps: list[int]) -> tuple[Tensor, ...]:
    """Matrix of the blur along each axis: 1 for the vertex, 1/2 for each neighbour; vertices (V,) rise.

    The last row and column stand for every vertex that no point touches: nothing leads there, so that it stays 0.
    """
    count = len(vertices)
    here = torch.arange(count + 1, device=vertices.device)
    weights = torch.tensor([0.5, 1.0, 0.5], device=vertices.device).repeat(count + 1, 1)
    blurs = []
    for step in steps:
        after = _find(vertices, vertices + step)
        before = torch.full_like(here, count).scatter_(0, after, here[:-1])
        before[-1:] = count
        after = torch.cat([after, here[-1:]])
        blurs.append(row_matrix(torch.stack([before, here, after], dim=1), weights, count + 1))
    return tuple(blurs)


def _find(vertices: Tensor, wanted: Tensor) -> Tensor:
    """Place of each of the wanted numbers among the vertices, their count where it is none of them; both rise."""
    if vertices.is_cuda:
        place = torch.searchsorted(vertices, wanted)
    else:  # NumPy goes on from where it found the last
        place = torch.from_numpy(np.searchsorted(vertices.numpy(), wanted.numpy()))
    return place.masked_fill_(vertices.index_select(0, place.clamp(max=len(vertices) - 1)) != wanted, len(vertices))
