"""PAMR beside loops over pixels; flat images, edges, settings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deft.refine.pamr import Pamr
from deft.refine.pixel_adaptive import neighbours, propagate
from fakes import rng
from references import weighted_neighbours

DISTANCES = (1, 2, 4)


def weigh(own: Tensor, others: Tensor, softness: float) -> Tensor:
    """The published weights of one pixel's neighbours."""
    values = torch.cat([others, own.repeat(len(DISTANCES), 1)])
    return (-(others - own).abs() / (1e-8 + softness * values.std(0))).mean(1).softmax(0)


@pytest.mark.parametrize("softness", [0.05, 0.4])
def test_it_equals_loops_over_pixels(softness: float) -> None:
    image, maps = torch.rand(3, 7, 9, generator=rng()), torch.rand(2, 7, 9, generator=rng(1))
    settings = Pamr(distances=DISTANCES, softness=softness)
    weights = settings.weights(image)
    assert torch.allclose(weights.sum(0), torch.ones(7, 9), atol=1e-5)
    expected = weighted_neighbours(maps, image, DISTANCES, lambda own, others: weigh(own, others, softness), 3)
    assert torch.allclose(propagate(maps, weights, DISTANCES, 3), expected, atol=1e-5)


def test_a_flat_image_gives_the_mean_of_the_neighbours() -> None:
    maps = torch.rand(1, 9, 9, generator=rng())
    found = propagate(maps, Pamr(distances=DISTANCES).weights(torch.full((3, 9, 9), 0.4)), DISTANCES, 1)
    assert torch.allclose(found, torch.stack(list(neighbours(maps, DISTANCES))).mean(0), atol=1e-6)
