"""The best labels of the cells of a small grid: exact, for costs of single cells and of pairs of neighbours.

Augmentations that choose for each cell what it shows minimise such a sum by graph cuts. On the few cells that they
have, dynamic programming finds the minimum itself, for any cost of pairs: cells are visited row by row, and for all
labels of the last w cells, which is all that later cells depend on, the least cost so far is kept. With L labels and w
cells in a row it takes time and memory in proportion to ``L ** w`` for each cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def best_labels(unary: Floats, right: Floats, down: Floats) -> NDArray[np.int64]:
    """Labels (N, h, w) in [0, L) of the least total cost, for N grids at once; the same ones at each call.

    Args:
        unary: cost of each label in each cell, (N, h, w, L).
        right: cost of the labels of a cell and of the one on its right, (N, h, w - 1, L, L), the left one's first.
        down: cost of the labels of a cell and of the one below it, (N, h - 1, w, L, L), the upper one's first.
    """
    count, height, width, labels = unary.shape
    cost = np.zeros((count, labels**width))
    chosen = []
    for row in range(height):
        for column in range(width):
            # Axes: grids, labels of the columns before, label of this cell, labels of the columns behind.
            before, behind = labels**column, labels ** (width - column - 1)
            old = cost.reshape(count, before, labels, 1, behind)
            step = down[:, row - 1, column] if row else np.zeros((count, labels, labels))
            least = old[:, :, 0] + step[:, None, 0, :, None]
            above = np.zeros(least.shape, dtype=np.uint8)
            for label in range(1, labels):  # faster than argmin along an axis in the middle
                other = old[:, :, label] + step[:, None, label, :, None]
                better = other < least
                np.copyto(least, other, where=better)
                above[better] = label
            least = least + unary[:, row, column][:, None, :, None]
            if column:
                beside = right[:, row, column - 1][:, None, :, :, None]
                least = (least.reshape(count, -1, labels, labels, behind) + beside).reshape(least.shape)
            chosen.append(above.reshape(count, -1))
            cost = least.reshape(count, -1)
    return _followed_back(cost.argmin(axis=1), chosen, (count, height, width), labels)


def _followed_back(
    states: NDArray[np.intp], chosen: list[NDArray[np.uint8]], shape: tuple[int, int, int], labels: int
) -> NDArray[np.int64]:
    """The labels on the way to the last states, from the label above that each cell chose."""
    found = np.zeros(shape, dtype=np.int64)
    grids = np.arange(shape[0])
    for row in reversed(range(shape[1])):
        for column in reversed(range(shape[2])):
            place = labels ** (shape[2] - column - 1)
            digit = states // place % labels
            found[:, row, column] = digit
            above = chosen.pop()[grids, states]
            states = states + (above.astype(np.int64) - digit) * place
    return found


def total_cost(labels: NDArray[np.int64], unary: Floats, right: Floats, down: Floats) -> Floats:
    """Cost (N,) of labels (N, h, w), which :func:`best_labels` minimises."""
    own = np.take_along_axis(unary, labels[..., None], axis=3).sum(axis=(1, 2, 3))
    for costs, first, second in (
        (right, labels[:, :, :-1], labels[:, :, 1:]),
        (down, labels[:, :-1], labels[:, 1:]),
    ):
        chosen = np.take_along_axis(costs, first[..., None, None], axis=3)
        own = own + np.take_along_axis(chosen, second[..., None, None], axis=4).sum(axis=(1, 2, 3, 4))
    found: Floats = own
    return found
