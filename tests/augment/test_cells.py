"""Cells of images and their saliency."""

from __future__ import annotations

import pytest
import torch

from deft.augment.cells import cell_saliency, cut, joined, to_pixels
from deft.contracts import InputError
from fakes import rng


def test_cells_are_those_of_the_image_and_make_it_again() -> None:
    x = torch.randn(2, 3, 6, 9, generator=rng())
    pieces = cut(x, 3)
    assert pieces.shape == (2, 9, 3, 2, 3)
    assert torch.equal(pieces[1, 5], x[1, :, 2:4, 6:9])
    assert torch.equal(joined(pieces), x)
    assert torch.equal(to_pixels(torch.arange(18.0).view(2, 3, 3), x)[1, 0, 2:4, 6:9], torch.full((2, 3), 14.0))


def test_saliency_is_the_share_in_the_length_of_the_gradient() -> None:
    gradient = torch.zeros(2, 3, 4, 4)
    gradient[0, :, 0, 0] = torch.tensor([3.0, 0.0, 4.0])
    gradient[0, 1, 3, 3] = -15
    found = cell_saliency(gradient, 2)
    assert torch.allclose(found[0], torch.tensor([[0.25, 0.0], [0.0, 0.75]], dtype=torch.float64))
    assert torch.equal(found[1], torch.full((2, 2), 0.25, dtype=torch.float64))
    with pytest.raises(InputError, match=r"multiples of 3, got 4 x 4; set classifier\.augment\.cells"):
        cell_saliency(gradient, 3)
