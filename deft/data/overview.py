"""The classes of a dataset with their images, so that a wrong reading is seen before anything is trained."""

from __future__ import annotations

import numpy as np

from deft.contracts import Splits
from deft.data.faults import counted
from deft.guards.words import shown

_EXAMPLES = 5


def overview(splits: Splits) -> str:
    """The number of images, and a line for each class: its number of images and five examples.

    Args:
        splits: the dataset; no image is read.
    """
    train, val = splits.train, splits.val
    without = int((~train.labels.any(axis=1)).sum()) if len(train) else 0
    counts = [counted(len(train.classes), "class", "classes"), counted(len(train), "training image")]
    if without:
        counts.append(f"{without} of them without a label")
    if val is not None:
        counts.append(f"{len(val)} held out")
    lines = [", ".join(counts)]
    names = [shown(name) for name in train.classes]
    width = min(30, max(map(len, names), default=0))
    for k, name in enumerate(names):
        of_class = np.flatnonzero(train.labels[:, k])
        # spread over the images, as neighbours are often alike
        places = np.unique(np.linspace(0, max(0, len(of_class) - 1), _EXAMPLES).round().astype(int))
        examples = ", ".join(shown(train.names[index]) for index in of_class[places[: len(of_class)]])
        held = f", {int(val.labels[:, k].sum())} held out" if val is not None else ""
        said = f"  {name:<{width}}  {counted(len(of_class), 'image')}{held}"
        lines.append(f"{said}: {examples}" if examples else said)
    return "\n".join(lines)
