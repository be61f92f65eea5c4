from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from deft.refine.neighborhood import directions
from deft.refine.psa_loss import affinity, affinity_losses, cell_labels


def slow_losses(features: Tensor, labels: Tensor, radius: int) -> dict[str, float]:
    """The losses, over all pairs of cells."""
    terms: dict[str, list[float]] = defaultdict(list)
    count, _, height, width = features.shape
    cells = [(y, x) for y in range(height) for x in range(width)]
    for n in range(count):
        for place, (y, x) in enumerate(cells):
            for v, u in cells[place + 1 :]:
                one, other = int(labels[n, y, x]), int(labels[n, v, u])
                if 255 in (one, other) or (v - y) ** 2 + (u - x) ** 2 >= radius**2:
                    continue
                a = math.exp(-float((features[n, :, y, x] - features[n, :, v, u]).abs().mean()))
                if one != other:
                    terms["different"].append(-math.log(1 + 1e-5 - a))
                else:
                    terms["object" if one else "background"].append(-math.log(a + 1e-5))
    mean = {name: sum(values) / len(values) for name, values in terms.items()}
    return {
        "same": mean.get("background", 0) / 4 + mean.get("object", 0) / 4,
        "different": mean.get("different", 0) / 2,
    }


@pytest.mark.parametrize("values", [[0, 1, 4, 255], [0, 0, 255], [3], [255], [0, 254]])
def test_losses_equal_those_over_all_pairs_of_cells(values: list[int]) -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 7, 8, generator=rng)
    labels = torch.tensor(values)[torch.randint(len(values), (2, 7, 8), generator=rng)]
    found = affinity_losses(features, labels, 4)
    expected = slow_losses(features, labels, 4)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_affinities_of_34_directions_are_between_0_and_1() -> None:
    features = torch.randn(1, 4, 9, 9) * 10
    found = [affinity(features, direction) for direction in directions(5)]
    assert len(found) == 34
    assert all(bool((a >= 0).all() and (a <= 1).all()) for a in found)
    assert all(bool((affinity(torch.ones(1, 4, 9, 9), way) == 1).all()) for way in directions(5))


def test_features_that_separate_the_labels_have_zero_loss() -> None:
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    labels[:, :, 4:] = 2
    labels[:, 8:] = 255
    features = 20.0 * (labels == 2).float()[:, None].expand(-1, 6, -1, -1)
    right = affinity_losses(features, labels, 5)
    assert right["same"] < 1e-4 and right["different"] < 1e-4
    assert affinity_losses(torch.zeros_like(features), labels, 5)["different"] > 5
    assert affinity_losses(torch.randn_like(features) * 10, labels, 5)["same"] > 1
    changed = features.clone()
    changed[:, :, 8:] = torch.randn(1, 6, 2, 10)
    assert affinity_losses(changed, labels, 5) == right  # what is unsure does not count


def test_gradients_equal_those_of_the_formula() -> None:
    rng = torch.Generator().manual_seed(1)
    features = torch.randn(1, 3, 5, 6, generator=rng, dtype=torch.float32, requires_grad=True)
    labels = torch.tensor([0, 1, 255])[torch.randint(3, (1, 5, 6), generator=rng)]
    torch.stack(list(affinity_losses(features, labels, 3).values())).sum().backward()
    assert features.grad is not None
    step = 1e-2
    for place in [(0, 0, 0, 0), (0, 1, 2, 3), (0, 2, 4, 5)]:
        around = []
        for sign in (1, -1):
            moved = features.detach().clone()
            moved[place] += sign * step
            around.append(sum(slow_losses(moved, labels, 3).values()))
        assert features.grad[place].item() == pytest.approx((around[0] - around[1]) / (2 * step), abs=2e-3)


def test_costs_are_summed_in_float32_under_autocast() -> None:
    rng = torch.Generator().manual_seed(2)
    features = torch.randn(1, 3, 16, 16, generator=rng).bfloat16()
    labels = torch.randint(3, (1, 16, 16), generator=rng)
    expected = affinity_losses(features.float(), labels, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert affinity_losses(features, labels, 5) == expected


def test_a_cell_has_the_label_of_more_than_half_of_its_pixels() -> None:
    mask = torch.full((1, 8, 16), 255)
    mask[:, :, :8] = torch.tensor([3, 3, 3, 3, 3, 0, 255, 0])  # 5 of 8 columns
    mask[:, :, 8:] = torch.tensor([0, 0, 0, 0, 5, 5, 5, 5])  # a tie
    assert cell_labels(mask, 8).tolist() == [[[3, 255]]]
    mask[:, 0, 8] = 5
    assert cell_labels(mask, 8).tolist() == [[[3, 5]]]
    assert cell_labels(torch.full((2, 16, 24), 255), 8).unique().tolist() == [255]
    pixels = torch.tensor([0, 1, 254, 255])[torch.randint(4, (2, 5, 7))]
    torch.testing.assert_close(cell_labels(pixels, 1).long(), pixels)


def test_grids_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels \(N, h, w\)"):
        affinity_losses(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 5), 3)
