"""What maps and network say of a pseudo-mask."""

from __future__ import annotations

import numpy as np
import pytest

from deft.suggest.doubt import BY_MARGIN, BY_NETWORK, CHANCE, NEAR, doubt


def maps(*planes: list[list[float]]) -> np.ndarray:
    return np.array(planes, dtype=np.float32)


def test_areas_and_shares_of_a_mask() -> None:
    found = doubt(maps([[1.0, 0.45], [0.0, 0.0]]), (1,), 0.4, 2, np.array([[2, 0], [1, 0]], np.uint8))
    assert found.area.tolist() == [0.5, 0.0, 0.5]
    assert found.seen.tolist() == [0.5, 0.25, 0.25]
    assert found.disagree == 0.5  # the cell right above, and the one left below
    assert found.close == 0.25


def test_the_chance_of_an_error_adds_up_over_margin_and_network() -> None:
    found = doubt(maps([[1.0, 0.45], [0.0, 0.0]]), (1,), 0.4, 2, np.array([[2, 0], [1, 0]], np.uint8))
    near = CHANCE + BY_MARGIN * (1 - 0.05 / NEAR) + BY_NETWORK
    other = CHANCE + BY_NETWORK
    # Of class 2: both its cells; of the background: its cells, and the one that the network says; of class 1: one.
    expected = [CHANCE + other + near, other, CHANCE + near]
    assert found.wrong == pytest.approx(np.array(expected) / 4, abs=1e-6)


def test_between_two_classes_a_cell_is_undecided_only_where_it_is_no_background() -> None:
    two = doubt(maps([[0.9, 0.05]], [[0.85, 0.05]]), (0, 1), 0.5, 2)
    assert two.close == 0.5
    assert doubt(maps([[0.9, 0.05]]), (0,), 0.5, 2).close == 0


@pytest.mark.parametrize("network", [None, np.full((2, 3), 255, np.uint8)])
def test_a_network_that_says_nothing_adds_nothing(network: np.ndarray | None) -> None:
    found = doubt(np.zeros((0, 2, 3), np.float32), (), 0.3, 1, network)
    assert found.disagree == found.close == 0 and found.seen.tolist() == [0, 0]
    assert found.area.tolist() == [1, 0] and found.wrong == pytest.approx([CHANCE, 0])


@pytest.mark.parametrize(
    ("classes", "network", "told"),
    [
        ((0,), np.zeros((1, 2), np.uint8), "on the grid of the maps"),
        ((3,), None, "distinct 0-based class indices below 2"),
        ((0, 1), None, "one for each of 2 classes"),
    ],
)
def test_what_does_not_fit_is_refused(classes: tuple[int, ...], network: np.ndarray | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        doubt(np.zeros((1, 2, 2), np.float32), classes, 0.3, 2, network)
