from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from deft.refine.irn_loss import irn_losses
from deft.refine.neighborhood import directions, path


def slow_losses(edge: Tensor, displacement: Tensor, labels: Tensor, radius: int) -> dict[str, float]:
    """One pair after the other."""
    terms: dict[str, list[float]] = defaultdict(list)
    count, height, width = edge.shape
    for n in range(count):
        for down, right in directions(radius):
            for y in range(height - down):
                for x in range(max(0, -right), min(width, width - right)):
                    one, other = int(labels[n, y, x]), int(labels[n, y + down, x + right])
                    if 255 in (one, other):
                        continue
                    affinity = 1 - max(float(edge[n, y + dy, x + dx]) for dy, dx in path((down, right)))
                    gap = displacement[n, :, y, x] - displacement[n, :, y + down, x + right]
                    if one != other:
                        terms["different"].append(-math.log(1 + 1e-5 - affinity))
                    elif one == 0:
                        terms["background"].append(-math.log(affinity + 1e-5))
                        terms["still"].append(float(gap.abs().mean()))
                    else:
                        terms["objects"].append(-math.log(affinity + 1e-5))
                        terms["centre"].append(float((gap - torch.tensor([down, right])).abs().mean()))
    mean = {name: sum(values) / len(values) for name, values in terms.items()}
    return {
        "same": (mean.get("background", 0) + mean.get("objects", 0)) / 4,
        "different": mean.get("different", 0) / 2,
        "centre": mean.get("centre", 0) / 2,
        "still": mean.get("still", 0) / 2,
    }


def example(seed: int, values: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    edge = torch.rand(2, 8, 9, generator=rng)
    displacement = torch.randn(2, 2, 8, 9, generator=rng)
    labels = torch.tensor(values)[torch.randint(len(values), (2, 8, 9), generator=rng)]
    return edge, displacement, labels


@pytest.mark.parametrize("values", [[0, 1, 4, 255], [0, 0, 255], [3], [255], [0, 254]])
def test_equals_one_pair_after_the_other(values: list[int]) -> None:
    edge, displacement, labels = example(0, values)
    found = irn_losses(edge, displacement, labels, 4)
    expected = slow_losses(edge, displacement, labels, 4)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_true_boundaries_and_centres_cost_nothing() -> None:
    labels = torch.zeros(1, 12, 12, dtype=torch.int64)
    labels[:, 4:8, 4:8] = 2
    labels[:, 3:9, 3:9] += 255 * (labels[:, 3:9, 3:9] == 0)
    edge = (labels == 255).float()
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    to_centre = torch.stack([5.5 - rows, 5.5 - columns])[None]
    displacement = torch.where(labels[:, None] == 2, to_centre, 0.0)
    terms = irn_losses(edge, displacement, labels, 3)
    assert terms["different"] < 1e-4
    assert terms["centre"] == 0
    assert terms["still"] == 0
    assert irn_losses(torch.zeros_like(edge), displacement, labels, 3)["different"] > 1
    assert irn_losses(torch.ones_like(edge), displacement, labels, 3)["same"] > 1
    moved = irn_losses(edge, displacement + rows, labels, 3)
    assert moved["centre"] > 0.1 and moved["still"] > 0.1


def test_gradients_reach_both_branches() -> None:
    edge, displacement, labels = example(1, [0, 1, 2, 255])
    edge.requires_grad_()
    displacement.requires_grad_()
    torch.stack(list(irn_losses(edge, displacement, labels, 5).values())).sum().backward()
    for tensor in (edge, displacement):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any()


def test_other_grids_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels \(N, h, w\)"):
        irn_losses(torch.zeros(1, 4, 4), torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 5), 3)
