"""Puzzle Mix: the mask of the least cost, cells that move to be seen, labels by area."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from deft.augment.cells import cut
from deft.augment.grid_labels import total_cost
from deft.augment.mixup import beta
from deft.augment.puzzle_mix import PuzzleMix, moved
from deft.classify.gradients import ImageGradients
from deft.contracts import InputError, SalientAugmentation
from fakes import rng


def saliency_of(*corners: tuple[int, int]) -> np.ndarray:
    """Images of 4 x 4 cells, each of which is salient in one cell."""
    found = np.full((len(corners), 4, 4), 0.1 / 15)
    for one, corner in zip(found, corners, strict=True):
        one[corner] = 0.9
    return found


gradients = ImageGradients(lambda x, labels: (torch.zeros_like(labels), x.square()), torch.full((3, 1, 1), 0.25))
"""Brighter pixels count more."""


def written_out(
    settings: PuzzleMix, images: list[Tensor], salience: list[np.ndarray], share: float, z: Tensor
) -> float:
    """Cost of shares ``z`` (cells, cells) of the second of two images, as the paper writes it, cell by cell."""
    cells, (height, width) = len(z), images[0].shape[1:]
    h, w, cost = height // cells, width // cells, 0.0
    chance: dict[float, float] = {}  # of each share of successes in several draws
    for draws in product((0, 1), repeat=settings.levels - 1):
        own = sum(draws) / len(draws)
        chance[own] = chance.get(own, 0.0) + float(np.prod([share if draw else 1 - share for draw in draws]))
    for y, x in product(range(cells), repeat=2):
        own = float(z[y, x])
        cost += own * salience[0][y, x] + (1 - own) * salience[1][y, x]
        cost -= settings.prior / cells**2 * float(np.log(chance[own] + 1e-8))
        for down, right in ((0, 1), (1, 0)):
            if y + down == cells or x + right == cells:
                continue
            other = float(z[y + down, x + right])
            smooth = settings.smooth / cells / 16
            cost += smooth * (own - other) ** 2
            for a, b in product((0, 1), repeat=2):
                if right:
                    left, beside = images[a][:, y * h : y * h + h, x * w + w - 2 : x * w + w], images[b]
                    beside = beside[:, y * h : y * h + h, x * w + w : x * w + w + 2]
                    pooled = [one.unflatten(1, (-1, 2)).mean((2, 3)) for one in (left, beside)]
                else:
                    above, below = images[a][:, y * h + h - 2 : y * h + h, x * w : x * w + w], images[b]
                    below = below[:, y * h + h : y * h + h + 2, x * w : x * w + w]
                    pooled = [one.unflatten(2, (-1, 2)).mean((1, 3)) for one in (above, below)]
                chance_of = (own if a else 1 - own) * (other if b else 1 - other)
                difference = float((pooled[0] - pooled[1]).abs().mean())
                cost += smooth * settings.contrast * chance_of * difference
    return cost


@pytest.mark.parametrize(("levels", "seed"), [(2, 0), (3, 1), (3, 2), (4, 3)])
def test_the_mask_is_the_best_of_all_by_the_papers_cost(levels: int, seed: int) -> None:
    settings = PuzzleMix(levels=levels, smooth=6.0, contrast=2.0, strip=2)
    x, other = torch.randn(1, 3, 8, 12, generator=rng(seed)), torch.randn(1, 3, 8, 12, generator=rng(seed + 9))
    salience = np.random.default_rng(seed).dirichlet(np.ones(4), 2).reshape(2, 1, 2, 2)
    costs = settings.costs(x, other, salience[0], salience[1], 0.4)
    least = np.inf
    for labels in product(range(levels), repeat=4):
        z = torch.tensor([label / (levels - 1) for label in labels], dtype=torch.float64).view(2, 2)
        cost = written_out(settings, [other[0], x[0]], [salience[1][0], salience[0][0]], 0.4, z)
        assert total_cost(np.array(labels).reshape(1, 2, 2), *costs) == pytest.approx(cost, abs=1e-6)
        if cost < least:
            least, best = cost, z
    assert torch.equal(torch.from_numpy(settings.masks(x, other, salience[0], salience[1], 0.4))[0], best)


def test_each_image_is_shown_where_it_is_salient() -> None:
    flat = torch.zeros(1, 3, 16, 16)
    mask = PuzzleMix(prior=0.01).masks(flat, flat, saliency_of((0, 0)), saliency_of((3, 3)), 0.5)[0]
    assert mask[0, 0] == 1 and mask[3, 3] == 0


def test_a_salient_cell_that_is_hidden_moves_to_where_its_image_is_shown() -> None:
    wanted = np.zeros((1, 4, 4), dtype=bool)
    wanted[0, :, 1:] = True
    plan = PuzzleMix().plans(saliency_of((2, 0)), wanted)[0].reshape(4, 4)
    assert sorted(plan.ravel()) == list(range(16))
    assert plan[2, 1] == 2 * 4 + 0  # it went to the next column
    # Two columns further it is worth it only by the squares of distances: 0.9 - 0.1 / 15 lies between 0.8 times
    # 4/9 + 1/9 + 1/9, where cells in between move aside, and 0.8 times 2/3 + 1/3 + 1/3.
    wanted[0, :, 1] = False
    assert PuzzleMix().plans(saliency_of((2, 0)), wanted)[0, 2 * 4 + 2] == 2 * 4 + 0
    still = PuzzleMix(transport_cost=1000).plans(saliency_of((2, 0)), wanted)
    assert (still[0] == np.arange(16)).all()
    x = torch.randn(1, 3, 8, 8, generator=rng())
    assert torch.equal(cut(moved(x, plan.reshape(1, -1)), 4)[0, 9], cut(x, 4)[0, 8])


def test_hidden_cells_of_both_images_move_to_where_their_image_is_shown() -> None:
    """Two images of 2 x 2 cells, each of one colour whose brightness is the saliency of the cell."""
    settings = PuzzleMix(alpha=1e6, cells=(2,), smooth=0, prior=0.5, transport_cost=0.05)  # halves are favoured
    brightness = torch.tensor([[[0.50, 0.25], [0.20, 0.05]], [[0.30, 0.45], [0.05, 0.20]]])
    x = brightness[:, None].repeat(1, 3, 1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    looked = ImageGradients(lambda x, labels: (torch.zeros_like(labels), x), torch.ones(3, 1, 1))
    # Where one is by far the more salient it is shown alone: the first one on the left, the second one on the right.
    # Below, both are shown. Of each, the more salient cell that is hidden goes below, to the next cell.
    first, second = torch.tensor([[0.50, 0.05], [0.20, 0.25]]), torch.tensor([[0.05, 0.45], [0.30, 0.20]])
    expected = torch.stack([first[0, 0], second[0, 1], *(first[1] + second[1]) / 2]).view(2, 2)
    mixed, soft = settings(x, torch.eye(2), rng(3), looked)
    assert torch.allclose(soft, torch.full((2, 2), 0.5))  # each is mixed with the other
    for one in mixed:
        assert torch.allclose(one, expected.repeat_interleave(4, 0).repeat_interleave(4, 1).expand(3, 8, 8))


def test_labels_are_mixed_by_area_and_arguments_stay() -> None:
    x, labels = torch.randn(6, 3, 16, 16, generator=rng()), torch.eye(6)
    before = x.clone(), labels.clone()
    settings = PuzzleMix(cells=(4,), levels=2, transport=False)
    mixed, soft = settings(x, labels, rng(3), gradients)
    assert torch.equal(x, before[0]) and torch.equal(labels, before[1])
    again = rng(3)
    beta(1.0, again)
    torch.randint(1, (), generator=again)
    perm = torch.randperm(6, generator=again)
    assert (perm != torch.arange(6)).any()
    for index, partner in enumerate(perm.tolist()):
        own = (mixed[index] == x[index]).all(0).float().mean()
        assert soft[index, index] == pytest.approx(1 if partner == index else float(own), abs=1e-6)
        assert torch.equal(
            (mixed[index] == x[index]) | (mixed[index] == x[partner]), torch.ones(3, 16, 16, dtype=torch.bool)
        )
    assert torch.allclose(soft.sum(1), torch.ones(6))
    same = settings(x, labels, rng(3), gradients)
    assert torch.equal(same[0], mixed) and torch.equal(same[1], soft)


def test_settings() -> None:
    assert isinstance(PuzzleMix(), SalientAugmentation)
    with pytest.raises(InputError, match=r"^PuzzleMix\.cells: .*from 1 to 8"):
        PuzzleMix(cells=(16,))
    with pytest.raises(InputError, match=r"multiples of 8, got 12 x 12"):
        PuzzleMix(cells=(8,))(torch.zeros(2, 3, 12, 12), torch.eye(2), rng(), gradients)
