"""Sparse matrices in CSR format and their products with a few columns, for the lattice and the random walk."""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def product(matrix: Tensor, values: Tensor) -> Tensor:
    """Product of a CSR matrix with a few columns, by torch's fastest kernel for it.

    Args:
        matrix: sparse CSR (R, C) of :func:`row_matrix` or :func:`ragged_matrix`.
        values: (C, L), of the same dtype and on the same device.

    Returns:
        (R, L).
    """
    if values.dtype != torch.float32 or values.device.type != "cpu":
        return matrix @ values
    # torch's kernel for weighted sums of embedding rows takes half the time of its sparse product if rows are
    # scattered over memory.
    return F.embedding_bag(
        matrix.col_indices(),
        values,
        matrix.crow_indices(),
        mode="sum",
        per_sample_weights=matrix.values(),
        include_last_offset=True,
    )


def row_matrix(columns: Tensor, weights: Tensor, width: int) -> Tensor:
    """Matrix with the same number of entries in each row.

    Args:
        columns: column of each entry, integer (R, E), in any order within a row; the column of an entry of weight 0
            does not matter.
        weights: float (R, E).
        width: number of columns.

    Returns:
        Sparse CSR matrix (R, width) with 32-bit indices, on the device of ``weights``.
    """
    rows, entries = columns.shape
    starts = torch.arange(0, rows * entries + 1, entries, device=columns.device)
    return ragged_matrix(starts, columns.reshape(-1), weights.reshape(-1), width)


def ragged_matrix(starts: Tensor, columns: Tensor, weights: Tensor, width: int) -> Tensor:
    """Matrix with any number of entries in each row.

    Args:
        starts: index of the first entry of each row, followed by the number of entries, integer (R + 1,).
        columns: column of each entry, integer (E,).
        weights: float (E,).
        width: number of columns.

    Returns:
        Sparse CSR matrix (R, width) with 32-bit indices, on the device of ``weights``.
    """
    _silence_beta_warning()
    return torch.sparse_csr_tensor(
        starts.to(torch.int32),
        columns.to(torch.int32),
        weights,
        size=(len(starts) - 1, width),
        check_invariants=False,
    )


def with_weights(matrix: Tensor, weights: Tensor) -> Tensor:
    """The same matrix with other weights, (E,)."""
    return torch.sparse_csr_tensor(
        matrix.crow_indices(), matrix.col_indices(), weights, size=matrix.shape, check_invariants=False
    )


@cache
def _silence_beta_warning() -> None:
    """Suppress torch's warning that CSR is in beta, which it issues once, with the first such matrix of a process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        torch.sparse_csr_tensor(
            torch.tensor([0, 0]), torch.tensor([]).int(), torch.tensor([]), (1, 1), check_invariants=False
        )
