from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from deft.refine import irn_loss
from deft.refine.irn_loss import irn_losses
from deft.refine.neighborhood import directions, first_cells, path, second_cells


def slow_losses(edge: Tensor, displacement: Tensor, labels: Tensor, radius: int) -> dict[str, float]:
    """The losses, pair by pair."""
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
def test_losses_equal_a_loop_over_pairs(values: list[int]) -> None:
    edge, displacement, labels = example(0, values)
    found = irn_losses(edge, displacement, labels, 4)
    expected = slow_losses(edge, displacement, labels, 4)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_true_boundaries_and_centres_have_zero_loss() -> None:
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


def by_autograd(edge: Tensor, displacement: Tensor, labels: Tensor, radius: int) -> Tensor:
    """All terms, with torch's own gradients."""
    cost: dict[int, list[Tensor]] = defaultdict(list)
    error: dict[int, list[Tensor]] = defaultdict(list)
    for direction in directions(radius):
        one, other = first_cells(labels, direction), second_cells(labels, direction)
        strongest = torch.stack([first_cells(edge, direction, step) for step in path(direction)]).amax(0)
        sure, offset = (one != 255) & (other != 255), torch.tensor(direction).view(2, 1, 1)
        gap = first_cells(displacement, direction) - second_cells(displacement, direction)
        kinds = (sure & (one == other) & (one == 0), sure & (one == other) & (one != 0), sure & (one != other))
        for kind, pairs in enumerate(kinds):
            cost[kind].append(-((strongest if kind == 2 else 1 - strongest)[pairs] + 1e-5).log())
            error[kind].append((gap - offset * kind).abs().mean(1)[pairs])
    still, centre = (torch.cat(error[kind]).mean() / 2 for kind in (0, 1))
    background, objects, apart = (torch.cat(cost[kind]).mean() for kind in range(3))
    return torch.stack([(background + objects) / 4, apart / 2, centre, still])


@pytest.mark.parametrize("pairs_at_once", [1, 400, 1 << 20])
def test_gradients_of_each_term_are_those_of_autograd(pairs_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(irn_loss, "PAIRS_AT_ONCE", pairs_at_once)
    edge, displacement, labels = example(2, [0, 0, 1, 2, 255])
    grids = (edge.double().requires_grad_(), displacement.double().requires_grad_())
    weights = torch.tensor([1.0, 2.0, 3.0, 0.5], dtype=torch.float64)
    found = torch.stack(list(irn_losses(*grids, labels, 6).values()))
    expected = by_autograd(*grids, labels, 6)
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad((found * weights).sum(), grids)
    for one, other in zip(gradients, torch.autograd.grad((expected * weights).sum(), grids), strict=True):
        torch.testing.assert_close(one, other)


def test_the_mean_gradient_of_two_half_batches_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two processes divides by the mean of both numbers of pairs, whatever its own is."""
    edge, displacement, labels = example(3, [0, 0, 3, 255])
    labels[1, :5] = 255

    def gradient(rows: slice) -> Tensor:
        grid = edge[rows].clone().requires_grad_()
        total = torch.stack(list(irn_losses(grid, displacement[rows], labels[rows], 4).values())).sum()
        return torch.autograd.grad(total, grid)[0]

    whole = gradient(slice(None))
    counts: list[Tensor] = []
    monkeypatch.setattr(irn_loss, "mean_over_ranks", lambda own: counts.append(own) or own)
    for row in (0, 1):
        gradient(slice(row, row + 1))
    monkeypatch.setattr(irn_loss, "mean_over_ranks", lambda own: (counts[0] + counts[1]) / 2)
    monkeypatch.setattr(irn_loss, "world", lambda: 2)
    halves = torch.cat([gradient(slice(row, row + 1)) for row in (0, 1)])
    torch.testing.assert_close(halves / 2, whole)


def test_grids_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels \(N, h, w\)"):
        irn_losses(torch.zeros(1, 4, 4), torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 5), 3)
