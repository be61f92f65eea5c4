"""Votes of class-free masks beside the published way, which goes through all pixels for every class and every mask.

Ours sums all classes below a mask at once, and of masks that do not overlap, such as superpixels, all masks in one
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from measure import Row, compare, peak_mb, show
from numpy.typing import NDArray

from deft.engine.class_free import Floats, Segments, Stack, partition
from deft.refine.votes import MeanVote


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Masks as SAM makes them, and superpixels, on an image of VOC's size; on a CPU, wherever networks run."""
    size, masks, cells = ((24, 32), 5, 4) if quick else ((375, 500), 100, 14)
    rng = np.random.default_rng(0)
    maps = rng.random((3, *size))
    boxes = np.sort(rng.random((masks, 2, 2)), axis=1)
    inside = np.zeros((masks, *size), dtype=np.bool_)
    for mask, ((top, left), (bottom, right)) in zip(inside, boxes * np.array(size), strict=True):
        mask[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = True
    yield _row(f"{masks} masks that overlap", maps, inside, Stack(size, ("",) * masks, lambda index: inside[index]))
    labels = (np.arange(size[0])[:, None] * cells // size[0]) * cells + np.arange(size[1]) * cells // size[1] + 1
    separate = np.stack([labels == value for value in np.unique(labels)])
    yield _row(f"{len(separate)} superpixels", maps, separate, partition(labels))


def _row(what: str, maps: Floats, inside: NDArray[np.bool_], segments: Segments) -> Row:
    rule, free = MeanVote(), [None] * len(inside)
    found, expected = rule(maps, segments, free), published(maps, inside, rule)
    chosen = np.where(found.max(axis=0) > 0.5, found.argmax(axis=0) + 1, 0)
    device = torch.device("cpu")
    work: Callable[[], object] = lambda: rule(maps, segments, free)  # noqa: E731
    theirs, ours = compare(lambda: published(maps, inside, rule), work, device, 3)
    return Row(
        what=f"vote of {what}, {len(maps)} classes, {maps.shape[2]}x{maps.shape[1]}",
        beside="one class and one mask at a time",
        theirs=theirs,
        ours=ours,
        difference=f"{float((chosen != expected).mean()):.1e} of the pixels",
        goal="faster, equal masks",
        theirs_mb=peak_mb(lambda: published(maps, inside, rule), device),
        ours_mb=peak_mb(work, device),
        note="float64, masks in memory",
        runs=3,
    )


def published(maps: Floats, inside: NDArray[np.bool_], rule: MeanVote) -> NDArray[np.int64]:
    """Label map (H, W), 0 for background; pixels without a mask by their own maps."""
    means = np.zeros((len(inside), len(maps)))
    for place, plane in enumerate(maps):
        for index, mask in enumerate(inside):
            means[index, place] = (plane * mask).sum() / mask.sum()
    votes = means / means.max(axis=0)
    scores = np.concatenate([(1 - votes.max(axis=1, keepdims=True)) ** rule.power, votes], axis=1)
    own = np.concatenate([(1 - maps.max(axis=0, keepdims=True)) ** rule.power, maps])
    found: NDArray[np.int64] = own.argmax(axis=0)
    for index in np.argsort(scores.max(axis=1), kind="stable"):
        found = np.where(inside[index], scores[index].argmax(), found)
    return found


if __name__ == "__main__":
    show(rows(torch.device("cpu"), quick=False))
