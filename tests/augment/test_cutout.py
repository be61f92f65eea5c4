"""Cutout hides clipped squares with their centres anywhere, and leaves all else as it was."""

from __future__ import annotations

import pytest
import torch

from deft.augment.cutout import Cutout, stretch
from deft.contracts import InputError
from fakes import rng


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("height", "width", "side"), [(16, 16, 4), (16, 24, 4), (12, 12, 3)])
def test_pixel_by_pixel_it_is_what_the_paper_says(height: int, width: int, side: int, count: int) -> None:
    x = torch.rand(4, 3, height, width, generator=rng(1)) + 1
    hidden, _ = Cutout(side=0.25, count=count)(x, torch.zeros(4, 2), rng(2))
    again = rng(2)
    for n in range(4):
        centres = [
            (int(torch.randint(height, (), generator=again)), int(torch.randint(width, (), generator=again)))
            for _ in range(count)
        ]
        for row in range(height):
            for column in range(width):
                under = any(
                    -(side // 2) <= row - y < side - side // 2 and -(side // 2) <= column - x_ < side - side // 2
                    for y, x_ in centres
                )
                expected = torch.zeros(3) if under else x[n, :, row, column]
                assert torch.equal(hidden[n, :, row, column], expected)


def test_labels_and_what_comes_in_stay() -> None:
    x, labels = torch.rand(3, 3, 16, 16) + 1, torch.eye(3)
    before = x.clone()
    hidden, same = Cutout()(x, labels, rng())
    assert torch.equal(same, torch.eye(3))
    assert torch.equal(x, before)
    shares = (hidden == 0).all(1).float().mean((1, 2))
    assert bool((shares > 0).all()) and bool((shares <= 1 / 16).all())


def test_images_are_hidden_at_places_of_their_own() -> None:
    hidden, _ = Cutout()(torch.ones(8, 3, 32, 32), torch.zeros(8, 1), rng())
    assert len({tuple((image[0] == 0).flatten().tolist()) for image in hidden}) > 4


def test_a_stretch_is_whole_inside_and_cut_at_the_border() -> None:
    found = [stretch(10, 4, rng(seed)) for seed in range(60)]
    assert {(part.start, part.stop) for part in found} == {
        *((start, start + 4) for start in range(7)),
        (0, 2),
        (0, 3),
        (7, 10),
    }


def test_features_with_a_gradient_can_be_hidden() -> None:
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    hidden, _ = Cutout()(x, torch.zeros(2, 1), rng())
    hidden.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, (hidden != 0).float())


@pytest.mark.parametrize(("side", "count"), [(0.0, 1), (1.1, 1), (float("nan"), 1), (0.5, 0)])
def test_no_squares_are_refused(side: float, count: int) -> None:
    with pytest.raises(InputError, match=r"^Cutout\.(side|count): expected"):
        Cutout(side=side, count=count)
