"""Sparse matrices kept by rows, for products with a few columns: what the lattice and the random walk are made of."""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def product(matrix: Tensor, values: Tensor) -> Tensor:
    """Product of a matrix kept by rows with a few columns, by the fastest of torch's ways.

    Args:
        matrix: sparse CSR (R, C) of :func:`row_matrix` or :func:`ragged_matrix`.
        values: (C, L), of the same type and on the same device.

    Returns:
        (R, L).
    """
    if values.dtype != torch.float32 or values.device.type != "cpu":
        return matrix @ values
    # Sums of weighted rows of a table are what recommenders spend their time on: torch's kernel for them takes half
    # the time of its sparse product where rows are scattered over memory.
    return F.embedding_bag(
        matrix.col_indices(),
        values,
        matrix.crow_indices(),
        mode="sum",
        per_sample_weights=matrix.values(),
        include_last_offset=True,
    )


def row_matrix(columns: Tensor, weights: Tensor, width: int) -> Tensor:
    """Matrix whose rows all hold the same number of entries.

    Args:
        columns: column of each entry, integer (R, E); the order within a row is free, and an entry of weight 0 may
            point anywhere.
        weights: float (R, E).
        width: number of columns.

    Returns:
        Sparse CSR matrix (R, width) with 32-bit indices, on the device of ``weights``.
    """
    rows, entries = columns.shape
    starts = torch.arange(0, rows * entries + 1, entries, device=columns.device)
    return ragged_matrix(starts, columns.reshape(-1), weights.reshape(-1), width)


def ragged_matrix(starts: Tensor, columns: Tensor, weights: Tensor, width: int) -> Tensor:
    """Matrix whose rows hold any number of entries.

    Args:
        starts: place of the first entry of each row, and the number of entries last, integer (R + 1,).
        columns: column of each entry, integer (E,).
        weights: float (E,).
        width: number of columns.

    Returns:
        Sparse CSR matrix (R, width) with 32-bit indices, on the device of ``weights``.
    """
    _hear_of_beta()
    return torch.sparse_csr_tensor(
        starts.to(torch.int32),
        columns.to(torch.int32),
        weights,
        size=(len(starts) - 1, width),
        check_invariants=False,
    )


def with_weights(matrix: Tensor, weights: Tensor) -> Tensor:
    """The same entries with other weights, (E,)."""
    return torch.sparse_csr_tensor(
        matrix.crow_indices(), matrix.col_indices(), weights, size=matrix.shape, check_invariants=False
    )


@cache
def _hear_of_beta() -> None:
    """Take torch's warning that CSR is in beta, which comes with the first such matrix of a process and not again."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        torch.sparse_csr_tensor(
            torch.tensor([0, 0]), torch.tensor([]).int(), torch.tensor([]), (1, 1), check_invariants=False
        )
