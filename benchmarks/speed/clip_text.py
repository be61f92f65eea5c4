"""Class-aware attention affinity (CLIP-ES) beside the straightforward way: matrices of all blocks, Sinkhorn, squares.

The straightforward way keeps the attention of each block, (N, N), writes a matrix for every division, multiplies it by
itself and makes a masked copy for each class. Ours keeps one matrix and scales vectors.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from measure import Row, compare, peak_mb, show
from torch import Tensor

from deft.seeds.caa import Affinity, attend, inside_boxes, refined, stretched

LAYERS, HEADS, CHANNELS, CLASSES = 8, 12, 64, 3


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """ViT-B/16 on images of 512 and 1024 pixels: from queries and keys, and from the mean attention on."""
    for side in (4,) if quick else (32, 64):
        generator = torch.Generator().manual_seed(0)
        shape = (LAYERS, HEADS, side * side + 1, CHANNELS)
        query, key = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
        query = query * 2 / CHANNELS**0.5  # as sharp as trained ones
        maps = stretched(torch.rand(CLASSES, side, side, generator=generator) ** 4).to(device)
        what = f"affinity of {side * side} patches, {CLASSES} classes"
        total = mean(query, key)
        yield _row(f"{what}, with the attention of {LAYERS} blocks", query, key, maps, None)
        yield _row(f"{what}, from the mean attention on", query, key, maps, total)


def _row(what: str, query: Tensor, key: Tensor, maps: Tensor, total: Tensor | None) -> Row:
    def ours() -> Tensor:
        return spread(mean(query, key) if total is None else total, maps)

    def theirs() -> Tensor:
        return published(attention(query, key) if total is None else total, maps)

    difference = float((ours() - theirs()).abs().max())
    runs = 3 if maps[0].numel() <= 1024 else 1
    slow, fast = compare(theirs, ours, maps.device, runs)
    return Row(
        what=what,
        beside="every matrix written out",
        theirs=slow,
        ours=fast,
        difference=f"{difference:.1e} of a map in 0 to 1",
        goal="faster, less memory, 1e-3",
        theirs_mb=peak_mb(theirs, maps.device),
        ours_mb=peak_mb(ours, maps.device),
        note="random queries and keys",
        runs=runs,
    )


def mean(query: Tensor, key: Tensor) -> Tensor:
    """Mean attention between patches, (N, N), a few rows at a time."""
    patches = query.shape[2] - 1
    total = torch.zeros(patches, patches, device=query.device)
    for one, other in zip(query, key, strict=True):
        attend(one, other, None, total, 1 / len(query))
    return total


def spread(total: Tensor, maps: Tensor) -> Tensor:
    """Maps (P, h, w), spread and stretched."""
    return stretched(refined(Affinity(total, 3), maps, 0.4, 1))


def attention(query: Tensor, key: Tensor) -> Tensor:
    """The same mean of the whole matrices of all blocks."""
    kept = [(one @ other.transpose(1, 2)).softmax(dim=-1).mean(dim=0) for one, other in zip(query, key, strict=True)]
    return torch.stack(kept).mean(dim=0)[1:, 1:]


def published(total: Tensor, maps: Tensor) -> Tensor:
    """The formulas as they are written."""
    matrix = total
    for _ in range(3):
        matrix = matrix / matrix.sum(dim=0, keepdim=True)
        matrix = matrix / matrix.sum(dim=1, keepdim=True)
    matrix = (matrix + matrix.T) / 2
    matrix = matrix @ matrix
    found = []
    for one in maps:
        masked = matrix * inside_boxes(one, 0.4).flatten()[None]
        found.append((masked @ one.flatten()).view(one.shape))
    return stretched(torch.stack(found))


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
