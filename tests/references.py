"""Slow and obvious ways to compute what the package computes fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deft.artifacts import file_stem, load_mask
from deft.classify.classifier import ClassifierNetwork
from deft.contracts import Dataset
from deft.refine.neighborhood import directions


def dense_walk(
    maps: Tensor,
    affinity: Callable[[int, int, int, int], float],
    radius: int,
    beta: float,
    squarings: int,
) -> Tensor:
    """The walk as it is published: the whole transition matrix, squared.

    Args:
        maps: (P, h, w).
        affinity: of the cell (y, x) and the one ``down`` and ``right`` of it, as ``affinity(y, x, down, right)``.
        radius: of the neighbourhood, in cells.
        beta: power of the affinities.
        squarings: the walk has two to this power of steps.

    Returns:
        float64 (P, h, w).
    """
    height, width = maps.shape[-2:]
    matrix = torch.eye(height * width, dtype=torch.float64)
    for down, right in directions(radius):
        for y in range(height - down):
            for x in range(max(0, -right), min(width, width - right)):
                one, other = y * width + x, (y + down) * width + x + right
                matrix[one, other] = matrix[other, one] = affinity(y, x, down, right)
    matrix = matrix**beta
    matrix = matrix / matrix.sum(0, keepdim=True)
    for _ in range(squarings):
        matrix = matrix @ matrix
    return (maps.flatten(1).double() @ matrix).view(maps.shape)


def slow_miou(masks: Sequence[np.ndarray], truths: Sequence[np.ndarray | None], values: int = 4) -> float:
    """Mean IoU over the values that occur, counted over the pixels of all images; 255 in the truth is left out.

    Args:
        masks: (H, W) each, what is scored.
        truths: (H, W) each, what is right; an image of None does not count.
        values: 0 to this number, itself left out.
    """
    known = [(mask, truth) for mask, truth in zip(masks, truths, strict=True) if truth is not None]
    given = np.concatenate([mask.ravel() for mask, _ in known])
    right = np.concatenate([truth.ravel() for _, truth in known])
    given, right = given[right != 255], right[right != 255]
    found = []
    for value in range(values):
        union = ((given == value) | (right == value)).sum()
        if union:
            found.append(((given == value) & (right == value)).sum() / union)
    return float(np.mean(found))


def stored_miou(folder: Path, data: Dataset) -> float:
    """:func:`slow_miou` of the PNGs in a folder that are named after the images of a dataset."""
    masks = [load_mask(folder / f"{file_stem(name)}.png") for name in data.names]
    return slow_miou(masks, [data[index].mask for index in range(len(data))], len(data.classes) + 1)


def weighted_neighbours(
    maps: Tensor, image: Tensor, distances: Sequence[int], weigh: Callable[[Tensor, Tensor], Tensor], iterations: int
) -> Tensor:
    """Repeated means over the 8 neighbours at several distances, pixel by pixel; beyond the border is the border.

    Args:
        maps: (P, h, w).
        image: (3, h, w).
        distances: of the neighbours.
        weigh: weights (n,) of the neighbours, for a pixel's own colour (3,) and theirs (n, 3), ordered by distance.
        iterations: number of means.
    """
    height, width = image.shape[1:]
    ways = [(d * y, d * x) for d in distances for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    for _ in range(iterations):
        found = torch.zeros_like(maps)
        for y in range(height):
            for x in range(width):
                places = [(min(max(y + b, 0), height - 1), min(max(x + r, 0), width - 1)) for b, r in ways]
                weights = weigh(image[:, y, x], torch.stack([image[:, b, r] for b, r in places]))
                for weight, (b, r) in zip(weights, places, strict=True):
                    found[:, y, x] += weight * maps[:, b, r]
        maps = found
    return maps


def learns(
    network: ClassifierNetwork, batch: dict[str, Tensor], rate: float, momentum: float = 0.0
) -> dict[str, Tensor]:
    """Check that six steps on one batch lower the loss, and that each weight is in one group; the last step's terms."""
    groups = [{"params": group.params, "lr": rate * group.lr} for group in network.groups()]
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    optimiser, losses = torch.optim.SGD(groups, momentum=momentum), []
    terms: dict[str, Tensor] = {}
    for _ in range(6):
        terms = network.terms(batch, 6, torch.Generator().manual_seed(0))
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    return terms


def alike_in_parts(network: ClassifierNetwork, batch: dict[str, Tensor], parts: int) -> None:
    """Check that a batch in parts has the terms of the whole; the network is in eval mode meanwhile."""
    training = network.training
    network.eval()
    whole = network.terms(batch, 6, torch.Generator().manual_seed(0))
    network.parts = parts
    for name, term in network.terms(batch, 6, torch.Generator().manual_seed(0)).items():
        torch.testing.assert_close(term, whole[name], msg=name)
    network.train(training).parts = 1
