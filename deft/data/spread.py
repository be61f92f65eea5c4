"""Evenly spread subsets: the images that are examined if examining all would take too long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def spread(pool: Sequence[int] | NDArray[np.intp], count: int) -> list[int]:
    """At most ``count`` entries of ``pool``, evenly spaced from the first to the last, in the same order.

    Args:
        pool: indices, (N,).
        count: at least 0; N or more return all.
    """
    places = np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int)
    return [int(pool[place]) for place in places]
