"""Which images most need a look, and why: those whose maps are closest to the threshold.

The share of pixels whose strongest score is within :data:`NEAR` of the threshold tells how much of a mask a slightly
other threshold would change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deft.artifacts import load_seeds
from deft.contracts import InputError
from deft.export.source import Source
from deft.review.maps import FINAL, map_file, own_threshold
from deft.seedmaps import strongest

NEAR = 0.1


@dataclass(frozen=True)
class Suggested:
    """An image that needs a look."""

    name: str
    score: float
    """How much, in [0, 1]."""
    reason: str
    """One line for the page."""


def suggested(source: Source) -> list[Suggested]:
    """The images with maps, the one that most needs a look first; reads the maps of all of them."""
    return sorted(_measured(source), key=lambda each: -each.score)


def _measured(source: Source) -> Iterator[Suggested]:
    threshold = own_threshold(source)
    for item in source.items.values():
        path = map_file(source, FINAL, item)
        if path is None or threshold is None:
            continue
        try:
            _, score = strongest(load_seeds(path).maps)
        except (InputError, ValueError):  # told when the image is opened
            continue
        share = float(np.mean(np.abs(score - threshold) < NEAR)) if score.size else 0.0
        yield Suggested(item.name, share, f"{100 * share:.0f} % of its pixels are close to the threshold")
