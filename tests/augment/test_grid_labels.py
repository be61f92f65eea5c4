"""The labels found cost what the best of all labels cost."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from deft.augment.grid_labels import best_labels, total_cost


@pytest.mark.parametrize(("height", "width", "labels"), [(1, 1, 3), (2, 3, 3), (3, 3, 2), (1, 4, 3), (4, 1, 3)])
def test_they_are_the_best_of_all(height: int, width: int, labels: int) -> None:
    rng = np.random.default_rng(height + width)
    unary = rng.normal(size=(4, height, width, labels))
    right = rng.normal(size=(4, height, width - 1, labels, labels))
    down = rng.normal(size=(4, height - 1, width, labels, labels))
    found = best_labels(unary, right, down)
    for grid in range(4):
        least = np.inf
        for chosen in product(range(labels), repeat=height * width):
            at = np.array(chosen).reshape(height, width)
            cost = sum(unary[grid, y, x, at[y, x]] for y in range(height) for x in range(width))
            cost += sum(right[grid, y, x, at[y, x], at[y, x + 1]] for y in range(height) for x in range(width - 1))
            cost += sum(down[grid, y, x, at[y, x], at[y + 1, x]] for y in range(height - 1) for x in range(width))
            least = min(least, cost)
            if (at == found[grid]).all():
                own = cost
        assert own == pytest.approx(least)
        assert total_cost(found, unary, right, down)[grid] == pytest.approx(least)


def test_grids_do_not_depend_on_each_other_and_large_ones_work() -> None:
    rng = np.random.default_rng(0)
    unary = rng.normal(size=(3, 8, 8, 2))
    right, down = (np.broadcast_to(0.8 * (1 - np.eye(2)), (3, *shape, 2, 2)) for shape in ((8, 7), (7, 8)))
    found = best_labels(unary, right, down)
    alone = best_labels(unary[1:2], right[1:2], down[1:2])
    assert (found[1] == alone[0]).all()
    flipped = best_labels(unary[:, :, ::-1].copy(), right, down)
    assert total_cost(flipped, unary[:, :, ::-1], right, down) == pytest.approx(total_cost(found, unary, right, down))
    assert (total_cost(found, unary, right, down) <= total_cost(unary.argmin(3), unary, right, down)).all()
