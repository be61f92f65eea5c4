from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft.data.spread import spread


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (1, [0]), (2, [0, 9]), (3, [0, 4, 9]), (10, list(range(10))), (99, list(range(10)))],
)
def test_first_and_last_are_taken_and_no_more_than_there_are(count: int, expected: list[int]) -> None:
    assert spread(np.arange(10), count) == expected
    assert spread(range(10), count) == expected


def test_entries_are_returned_and_not_their_places() -> None:
    assert spread(np.array([3, 5, 8, 13, 21]), 3) == [3, 8, 21]
    assert spread([], 3) == []


@given(st.integers(2, 200), st.integers(2, 200))
def test_distances_differ_by_one_at_most(size: int, count: int) -> None:
    chosen = spread(range(size), count)
    assert len(chosen) == min(size, count)
    assert (chosen[0], chosen[-1]) == (0, size - 1)
    steps = np.diff(chosen)
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1
