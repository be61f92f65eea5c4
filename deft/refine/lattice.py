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
    """Gaussian filter over N points as sparse products: splat onto the lattice, blur along its axes, slice."""

    splat: Tensor
    """CSR (V + 1, N): value of each lattice vertex from the points in adjacent simplices; the last one is always 0."""
    blurs: tuple[Tensor, ...]
    """CSR (V + 1, V + 1) for each of the d + 1 axes: weights 1/2, 1, 1/2."""
    slice: Tensor
    """CSR (N, V + 1): value of each point from the vertices of its simplex."""

    def filter(self, values: Tensor) -> Tensor:
        """Approximate sum over all points, weighted by exp(-|f_i - f_j|^2 / 2); values float32 (N, L)."""
        values = product(self.splat, values)
        for blur in self.blurs:
            values = product(blur, values)
        return product(self.slice, values)

    def scaled(self, before: Tensor, after: Tensor) -> Lattice:
        """The filter with its input multiplied by ``before`` and its output by ``after``, both (N,)."""
        points = len(after)
        corners = self.slice.values().view(points, -1)
        return replace(
            self,
            splat=with_weights(self.splat, self.splat.values() * before.index_select(0, self.splat.col_indices())),
            slice=with_weights(self.slice, (corners * after.view(-1, 1)).view(-1)),
        )


def build_lattice(features: Tensor) -> Lattice:
    """Permutohedral lattice around points.

    Args:
        features: coordinates in units of standard deviations, float32 (d, N), d of 1 or more.

    Returns:
        The filter, on the device of ``features``.

    Raises:
        ValueError: the points are too many standard deviations apart for vertices to be numbered in 64 bits.
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
    """Simplex of each point, (d + 1, N) each: vertex of remainder 0 in multiples of d + 1, ranks of axes, weights."""
    dims, points = features.shape
    place = torch.arange(1, dims + 1, device=features.device).view(-1, 1)
    # This scale gives the blur along the axes the variance of the unit Gaussian.
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
    """Key of each vertex of each point's simplex, int64 (d + 1, N); key increment of a step along each axis; key bound.

    Every vertex is a sum of integer steps along the first d axes, where a step along the last axis is minus the sum of
    the others. These d counts are the digits of the vertex's key, with room for one step beyond the outermost vertex,
    so that a step is an addition and no two vertices share a key.
    """
    dims = len(corner) - 1
    counts = (corner[dims] - corner[:dims]).long()
    low, high = (bound.tolist() for bound in torch.aminmax(counts, dim=1))
    steps, room = [], 1
    for least, most in zip(low, high, strict=True):
        steps.append(room)
        room *= int(most - least) + 5
    if room >= 2**62:
        raise ValueError(
            "the CRF's standard deviations are too small for this image: expected a lattice of fewer than 2^62 keys, "
            f"got {room}; raise bilateral_srgb or the ..._sxy of the CRF"
        )
    steps.append(-sum(steps))
    digits = torch.tensor(steps, device=corner.device).view(-1, 1)
    origin = torch.tensor([least - 2 for least in low], device=corner.device).view(-1, 1)
    # The vertex of remainder r is one step from that of r - 1, along the axis of rank d + 1 - r.
    step_by_rank = torch.empty_like(rank).scatter_(0, rank, digits.expand_as(rank))
    keys = torch.empty_like(rank)
    keys[0] = ((counts - origin) * digits[:dims]).sum(0)
    for remainder in range(1, dims + 1):
        torch.add(keys[remainder - 1], step_by_rank[dims + 1 - remainder], out=keys[remainder])
    return keys, steps, room


def _sort(keys: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """Sorted keys, in [0, room), and the index of each before sorting, both int64 (E,)."""
    bits = len(keys).bit_length()
    if keys.is_cuda or room >= 2 ** (63 - bits):
        ordered, order = keys.sort()
        return ordered, order
    # NumPy sorts plain integers, with the indices packed in, in a tenth of the time of any sort that returns indices.
    packed = (keys << bits) + torch.arange(len(keys))
    packed = torch.from_numpy(np.sort(packed.numpy()))
    return packed >> bits, packed & (2**bits - 1)


def _blurs(vertices: Tensor, steps: list[int]) -> tuple[Tensor, ...]:
    """Matrix of the blur along each axis: 1 for the vertex, 1/2 for each neighbour; vertices (V,) are sorted keys.

    The last row and column stand for all vertices without points: nothing is splatted there, so the value stays 0.
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
    """Index of each wanted key among the vertices, or the number of vertices if it is none of them; both are sorted."""
    if vertices.is_cuda:
        place = torch.searchsorted(vertices, wanted)
    else:  # for sorted keys NumPy starts each search at the result of the previous one
        place = torch.from_numpy(np.searchsorted(vertices.numpy(), wanted.numpy()))
    return place.masked_fill_(vertices.index_select(0, place.clamp(max=len(vertices) - 1)) != wanted, len(vertices))
