"""What the labels of a dataset cannot teach.

A classifier learns a class as much from the images that lack it as from those that show it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SHOWN = 5


def unteachable(labels: NDArray[np.bool_], classes: Sequence[str]) -> list[tuple[str, str]]:
    """What a classifier cannot learn from these labels.

    Args:
        labels: of the training images, multi-hot (N, K).
        classes: names of the K classes.

    Returns:
        Pairs of what is found and what to do, one of each kind: classes on every image, classes on a single one, and
        classes that are always together. Classes without an image are left out.
    """
    found = []
    counts = labels.sum(axis=0)
    everywhere = [name for name, count in zip(classes, counts, strict=True) if count == len(labels) > 0]
    if everywhere:
        what = f"{_classes(everywhere)} on every training image, and there is nothing to tell {_them(everywhere)} from"
        if len(everywhere) == len(classes):
            what += ": no class can be learned"
        found.append((what, f"add images without {_them(everywhere)}"))
    once = [name for name, count in zip(classes, counts, strict=True) if count == 1 < len(labels)]
    if once:
        found.append(
            (f"{_classes(once)} on a single training image{_each(once)}", "add more images, or drop the class")
        )
    groups: dict[bytes, list[str]] = {}
    for name, column, count in zip(classes, labels.T, counts, strict=True):
        if 0 < count < len(labels):
            groups.setdefault(np.packbits(column).tobytes(), []).append(name)
    together = [names for names in groups.values() if len(names) > 1]
    if together:
        shown = "; ".join(_listed(names) for names in together[:_SHOWN]) if len(together) > 1 else _listed(together[0])
        what = f"classes that are always together cannot be told apart: {shown}".replace("; ", " | ")
        found.append((what, "add images that show only one of them, or make them one class"))
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more


def _classes(names: Sequence[str]) -> str:
    return f"class {names[0]!r} is" if len(names) == 1 else f"classes {_listed(names)} are"


def _each(names: Sequence[str]) -> str:
    return " each" if len(names) > 1 else ""


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
