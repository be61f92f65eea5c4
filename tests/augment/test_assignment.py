"""The assignment found costs what the best of all permutations costs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from deft.augment.assignment import best_assignment


@pytest.mark.parametrize("count", [1, 2, 4, 6])
@pytest.mark.parametrize("whole", [False, True])
def test_it_is_the_best_of_all(count: int, whole: bool) -> None:
    rng = np.random.default_rng(count)
    for _ in range(20):
        cost = rng.integers(0, 4, (count, count)).astype(float) if whole else rng.normal(size=(count, count))
        found = best_assignment(cost)
        assert sorted(found) == list(range(count))
        least = min(sum(cost[i, j] for i, j in enumerate(order)) for order in permutations(range(count)))
        assert cost[np.arange(count), found].sum() == pytest.approx(least)


def test_it_equals_scipys_on_many() -> None:
    solve = pytest.importorskip("scipy.optimize").linear_sum_assignment
    rng = np.random.default_rng(0)
    for _ in range(5):
        cost = rng.random((64, 64))
        assert cost[np.arange(64), best_assignment(cost)].sum() == pytest.approx(cost[solve(cost)].sum())


def test_things_that_are_best_where_they_are_stay() -> None:
    assert best_assignment(1 - np.eye(9)).tolist() == list(range(9))
    assert best_assignment(np.zeros((5, 5))).tolist() == list(range(5))
