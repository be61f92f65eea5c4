from __future__ import annotations

import warnings

import torch

from deft.refine.sparse_rows import ragged_matrix, row_matrix


def test_rows_of_equal_length_are_the_dense_matrix() -> None:
    columns = torch.tensor([[2, 0], [1, 1], [3, 3]])
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]])
    dense = torch.zeros(3, 4)
    for row in range(3):
        for column, weight in zip(columns[row], weights[row], strict=True):
            dense[row, column] += weight
    values = torch.rand(4, 2)
    torch.testing.assert_close(row_matrix(columns, weights, 4) @ values, dense @ values)


def test_rows_may_be_empty() -> None:
    matrix = ragged_matrix(torch.tensor([0, 0, 2, 3]), torch.tensor([1, 0, 1]), torch.tensor([1.0, 2.0, 3.0]), 2)
    expected = torch.tensor([[0.0, 0.0], [2.0, 1.0], [0.0, 3.0]])
    torch.testing.assert_close(matrix @ torch.eye(2), expected)


def test_no_warning_reaches_the_user() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row_matrix(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1), 1)
