"""The cheapest assignment of n things to n places, exact, by shortest augmenting paths.

The Hungarian method (Kuhn, 1955) in the form of Jonker and Volgenant (1987): prices of places are kept such that no
thing prefers another place, and one thing after the other is placed along the shortest path of exchanges, in O(n^2)
each. SciPy has the same; it is no dependency of this package.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def best_assignment(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Place (n,) of each thing such that the sum of their costs is least.

    Args:
        cost: finite, (n, n); ``cost[i, j]`` is that of thing i at place j.
    """
    count = len(cost)
    prices = cost.min(axis=0)
    thing = np.full(count, -1)  # at each place
    late = []
    for one in range(count):  # most things get the place they like best
        place = int((cost[one] - prices).argmin())
        if thing[place] < 0 and cost[one, place] <= prices[place]:
            thing[place] = one
        else:
            late.append(one)
    for one in late:
        _place(one, cost, prices, thing)
    places = np.empty(count, dtype=np.int64)
    places[thing] = np.arange(count)
    return places


def _place(one: int, cost: NDArray[np.float64], prices: NDArray[np.float64], thing: NDArray[np.int64]) -> None:
    """Place one more thing; changes ``prices`` and ``thing``."""
    count = len(cost)
    far = cost[one] - prices
    came_from = np.full(count, one)
    done = np.zeros(count, dtype=bool)
    while True:
        place = int(np.where(done, np.inf, far).argmin())
        shortest = far[place]
        if thing[place] < 0:
            break
        done[place] = True
        mover = thing[place]
        reach = shortest + (cost[mover] - prices) - (cost[mover, place] - prices[place])
        nearer = ~done & (reach < far)
        far[nearer], came_from[nearer] = reach[nearer], mover
    prices[done] += far[done] - shortest
    while True:
        mover = int(came_from[place])
        thing[place], previous = mover, np.flatnonzero(thing == mover)
        if mover == one:
            return
        place = int(previous[previous != place][0])
