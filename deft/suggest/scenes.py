"""Objects outside their usual scene, from tags alone: a class with a context, or another class, that it rarely shows.

A network that has seen a class in one scene only takes the scene for a part of it. The few images that show the class
elsewhere tell the two apart; where there are none, photographs are missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft.contracts import Dataset
from deft.data.faults import counted

RARE = 0.15
"""A companion is unusual for a class if at most this share of the images of the class shows it."""
BOUND = 0.9
"""A class is bound to a context that at least this share of its images shows."""
FEWEST = 5
"""With fewer images nothing is said about what is usual for a class."""
SCARCE = 10
"""Classes with fewer training images are worth more photographs."""


@dataclass(frozen=True)
class Scene:
    """A class with an unusual companion."""

    of: str
    companion: str
    joined: str
    """``on`` a context, ``with`` another class."""
    count: int
    """Number of training images that show both."""


def unusual(data: Dataset) -> dict[int, Scene]:
    """The training images that show a class outside its usual scene, with the rarest of their pairs, by index.

    An image shows a class outside its scene if every context of the image is unusual for the class; where contexts are
    not known, if another class of the image is.
    """
    contexts = data.context_labels
    companions = data.labels if contexts is None else contexts
    names = data.classes if contexts is None else data.contexts
    labels = data.labels
    counts = labels.T.astype(np.int64) @ companions.astype(np.int64)
    totals = labels.sum(axis=0)
    rare = counts <= RARE * totals[:, None]
    if contexts is None:
        rare &= rare.T  # of two classes together: for both of them
    found = {}
    for index in range(len(labels)):
        pairs = _pairs(labels[index], companions[index], rare, totals, contexts is None)
        if pairs:
            k, j = min(pairs, key=lambda pair: (counts[pair], pair))
            found[index] = Scene(data.classes[k], names[j], "with" if contexts is None else "on", int(counts[k, j]))
    return found


def _pairs(
    tags: NDArray[np.bool_], shown: NDArray[np.bool_], rare: NDArray[np.bool_], totals: NDArray[np.int64], classes: bool
) -> list[tuple[int, int]]:
    """Unusual pairs of a class and a companion in one image."""
    beside = [int(j) for j in np.flatnonzero(shown)]
    pairs = []
    for k in (int(k) for k in np.flatnonzero(tags) if totals[k] >= FEWEST):
        others = [j for j in beside if rare[k, j] and not (classes and j == k)]
        if others and (classes or len(others) == len(beside)):
            pairs += [(k, j) for j in others]
    return pairs


def wanted(data: Dataset, most: int = 5) -> list[str]:
    """What to photograph: classes with few images, the scarcest first, then classes that are bound to a context."""
    totals = data.labels.sum(axis=0)
    scarce = sorted((int(total), name) for name, total in zip(data.classes, totals, strict=True) if total < SCARCE)
    found = [f"{name}: {counted(total, 'training image')}; photograph more" for total, name in scarce]
    if data.context_labels is not None:
        counts = data.labels.T.astype(np.int64) @ data.context_labels.astype(np.int64)
        for k in np.argsort(totals, kind="stable"):
            bound = [j for j in range(counts.shape[1]) if counts[k, j] >= BOUND * totals[k]]
            if bound and totals[k] >= FEWEST:
                least = int(counts[k, bound].min())
                shown = " and ".join(data.contexts[j] for j in bound)
                what = f"{data.classes[k]}: {least} of {counted(int(totals[k]), 'training image')} show {shown}"
                found.append(f"{what}; photograph it elsewhere")
    return found[:most]
