from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from deft.refine.sparse_rows import product, ragged_matrix, row_matrix, with_weights


def test_rows_of_equal_length_equal_the_dense_matrix() -> None:
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
    """Of a process of its own: torch warns of the first such matrix alone."""
    code = "import torch; from deft.refine.sparse_rows import row_matrix\n"
    code += "print(row_matrix(torch.tensor([[1]]), torch.tensor([[3.0]]), 2).to_dense().tolist())"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[[0.0, 3.0]]\n"
    assert "beta" not in done.stderr and "sparse_rows" not in done.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product_of_ragged_rows_equals_the_dense_product(dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    dense = torch.rand(40, 30, generator=rng).to(dtype) * (torch.rand(40, 30, generator=rng) < 0.2)
    dense[[0, 17, 39]] = 0
    rows, columns = dense.nonzero(as_tuple=True)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), rows.bincount(minlength=40).cumsum(0)])
    matrix = ragged_matrix(starts, columns, dense[rows, columns], 30)
    for count in (1, 4, 21):
        values = torch.rand(30, count, generator=rng).to(dtype)
        torch.testing.assert_close(product(matrix, values), dense @ values)


def test_weights_can_be_replaced() -> None:
    matrix = row_matrix(torch.tensor([[2, 0], [1, 2]]), torch.ones(2, 2), 3)
    expected = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 4.0]])
    torch.testing.assert_close(with_weights(matrix, torch.tensor([1.0, 2.0, 3.0, 4.0])).to_dense(), expected)
    torch.testing.assert_close(matrix.values(), torch.ones(4))
