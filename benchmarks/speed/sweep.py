"""The threshold sweep beside one threshold, and beside the published way of a hundred masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from measure import Row, compare, peak_mb, show
from numpy.typing import NDArray
from stored_seeds import drawn

from deft.metrics.miou import THRESHOLDS, Confusion, ThresholdSweep
from deft.seedmaps import to_mask

CLASSES = 20
FIXED = 0.15
CALLS = 10
"""Of either way in one measurement: each takes a millisecond or two."""


def example(present: int) -> tuple[NDArray[np.float32], tuple[int, ...], NDArray[np.uint8]]:
    """Maps (P, 375, 500), their classes, and a truth like the masks of VOC: the objects, and 255 along their edges."""
    found = drawn((375, 500), present, seed=present)
    truth = to_mask(found.full, found.classes, 0.3)
    edge = np.zeros(truth.shape, dtype=np.bool_)
    for axis in (0, 1):
        for shift in (-2, 2):
            edge |= np.roll(truth, shift, axis) != truth
    truth[edge] = 255
    return np.ascontiguousarray(found.full.numpy()), found.classes, truth


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Two and four classes in an image; both ways are numpy's, on the CPU."""
    cpu = torch.device("cpu")
    np.ones(30_000_000, dtype=np.uint8)  # once freed, the C library keeps memory, as in any process that has worked
    for present in (2, 4):
        maps, classes, truth = example(present)
        swept = ThresholdSweep(CLASSES)
        swept.update(maps, classes, truth)
        many = [Confusion(CLASSES) for _ in THRESHOLDS]
        for each, level in zip(many, THRESHOLDS, strict=True):
            each.update(to_mask(maps, classes, float(level)), truth)
        unequal = sum(
            int((each.matrix != swept.at(float(level)).matrix).sum())
            for each, level in zip(many, THRESHOLDS, strict=True)
        )

        def one() -> None:
            for _ in range(CALLS):
                prediction = to_mask(maps, classes, FIXED)  # noqa: B023 (called in this pass alone)
                Confusion(CLASSES).update(prediction, truth)  # noqa: B023

        def hundred() -> None:
            for level in THRESHOLDS.repeat(CALLS):
                prediction = to_mask(maps, classes, float(level))  # noqa: B023
                Confusion(CLASSES).update(prediction, truth)  # noqa: B023

        total = ThresholdSweep(CLASSES)

        def sweep() -> None:
            for _ in range(CALLS):
                total.update(maps, classes, truth)  # noqa: B023

        size = f"375x500, {CLASSES} classes, {present} present"
        difference = f"{unequal} of {len(many) * (CLASSES + 1) ** 2} counts"
        for name, theirs, goal, runs in (
            ("one threshold", one, "at most twice the cost, equal counts", 3 if quick else 21),
            ("100 masks, each counted", hundred, "", 1 if quick else 3),
        ):
            before, after = compare(theirs, sweep, cpu, runs)
            yield Row(
                what=f"threshold sweep, 100 thresholds, {size}",
                beside=name,
                theirs=before / CALLS,
                ours=after / CALLS,
                difference=difference,
                goal=goal,
                theirs_mb=peak_mb(theirs, cpu),
                ours_mb=peak_mb(sweep, cpu),
                note=f"{after / before:.2f} times the cost of one" if goal else "",
                runs=runs * CALLS,
            )


if __name__ == "__main__":
    show(rows(torch.device("cpu"), quick=False))
