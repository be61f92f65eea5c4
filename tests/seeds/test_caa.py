"""The affinity against the way that is written in the paper, with every matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deft.seeds.caa import TOGETHER, Affinity, attend, inside_boxes, refined, regions, stretched
from fakes import rng


def doubly_stochastic(weights: Tensor, rounds: int) -> Tensor:
    """Sinkhorn on the matrix itself, then symmetric."""
    found = weights.clone()
    for _ in range(rounds):
        found = found / found.sum(dim=0, keepdim=True)
        found = found / found.sum(dim=1, keepdim=True)
    return (found + found.T) / 2


@pytest.mark.parametrize("together", [TOGETHER, 1, 37])
def test_attention_is_added_up_in_rows_as_in_one_piece(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deft.seeds.caa.TOGETHER", together)
    query, key, value = torch.randn(3, 2, 13, 5, generator=rng()).unbind()
    total = torch.full((12, 12), 0.5)
    found = attend(query, key, value, total, 0.25)
    weights = (query @ key.transpose(1, 2)).softmax(dim=-1)
    assert torch.allclose(total, 0.5 + 0.25 * weights.mean(dim=0)[1:, 1:], atol=1e-6)
    assert found is not None and torch.allclose(found, weights @ value, atol=1e-5)
    assert attend(query, key, None, torch.zeros(12, 12), 1.0) is None


@pytest.mark.parametrize("squarings", [0, 1, 2])
def test_scaled_vectors_give_what_matrices_give(squarings: int) -> None:
    size = (5, 4)
    weights = torch.rand(20, 20, generator=rng()).double() ** 4 + 1e-3
    maps = torch.rand(3, *size, generator=rng(1)).double()
    spread = doubly_stochastic(weights, 3)
    for _ in range(squarings):
        spread = spread @ spread
    slow = []
    for one in maps:
        columns = spread.clone()
        columns[:, ~inside_boxes(one, 0.4).flatten()] = 0
        slow.append((columns @ one.flatten()).view(size))
    before = weights.clone()
    assert torch.allclose(refined(Affinity(weights, 3), maps, 0.4, squarings), torch.stack(slow), atol=1e-10)
    assert torch.equal(weights, before)


def test_a_spread_map_keeps_its_sum() -> None:
    """D is doubly stochastic, after enough rounds."""
    affinity = Affinity(torch.rand(30, 30, generator=rng()).double() + 0.1, 50)
    maps = torch.rand(2, 5, 6, generator=rng(1)).double()
    assert torch.allclose(refined(affinity, maps, 0.0, 2).sum(dim=(1, 2)), maps.sum(dim=(1, 2)))
    ones = torch.ones(30, 1).double()
    assert torch.allclose(affinity.apply(ones), ones)


def test_boxes_are_around_each_region() -> None:
    values = torch.tensor(
        [
            [9.0, 0, 0, 0, 0, 0],
            [9.0, 9, 0, 0, 0, 5],
            [0.0, 0, 9, 0, 0, 0],
            [0.0, 0, 0, 0, 3, 0],
        ]
    )
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[0:3, 0:3] = True  # joined at a corner
    expected[1, 5] = True
    assert torch.equal(inside_boxes(values, 0.4), expected)  # 3 is not above 0.4 of 9
    assert not inside_boxes(torch.zeros(3, 3), 0.4).any()


def test_regions_are_those_of_a_flood() -> None:
    cells = torch.rand(12, 17, generator=rng(3)) < 0.4
    found = regions(cells)
    assert torch.equal(found > 0, cells)
    seen: dict[tuple[int, int], int] = {}
    for start in map(tuple, cells.nonzero().tolist()):
        if start in seen:
            continue
        number, open_cells = len(seen), [start]
        while open_cells:
            row, column = open_cells.pop()
            if (row, column) in seen or not (0 <= row < 12 and 0 <= column < 17 and cells[row, column]):
                continue
            seen[row, column] = number
            open_cells += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    pairs = {(seen[place], float(found[place])) for place in seen}
    assert len(pairs) == len({slow for slow, _ in pairs}) == len({fast for _, fast in pairs}) > 3


def test_maps_are_stretched_from_0_to_1() -> None:
    found = stretched(torch.tensor([[[2.0, 4.0]], [[3.0, 3.0]]]))
    assert torch.allclose(found, torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]), atol=1e-6)
