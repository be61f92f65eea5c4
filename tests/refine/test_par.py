"""PAR beside loops over pixels; flat images, edges, settings."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deft.refine.par import Par
from deft.refine.pixel_adaptive import neighbours, propagate
from fakes import rng
from references import weighted_neighbours

DISTANCES = (1, 2, 4)


def weigh(own: Tensor, others: Tensor, softness: float) -> Tensor:
    """The published weights of one pixel's neighbours, divided by their sum."""
    by_colour = (-(((others - own).abs() / (others.std(0) + 1e-8) / softness) ** 2)).mean(1).softmax(0)
    far = torch.tensor([d * (math.sqrt(2) if corner else 1) for d in DISTANCES for corner in (1, 0, 1, 0, 0, 1, 0, 1)])
    weights = by_colour + 0.01 * (-((far / (far.std() + 1e-8) / 0.3) ** 2)).softmax(0)
    assert abs(float(weights.sum()) - 1.01) < 1e-5
    return weights / weights.sum()


@pytest.mark.parametrize("softness", [0.05, 0.4])
def test_it_equals_loops_over_pixels(softness: float) -> None:
    image, maps = torch.rand(3, 7, 9, generator=rng()), torch.rand(2, 7, 9, generator=rng(1))
    settings = Par(distances=DISTANCES, softness=softness)
    weights = settings.weights(image)
    assert torch.allclose(weights.sum(0), torch.ones(7, 9), atol=1e-5)
    expected = weighted_neighbours(maps, image, DISTANCES, lambda own, others: weigh(own, others, softness), 3)
    assert torch.allclose(propagate(maps, weights, DISTANCES, 3), expected, atol=1e-5)


def test_a_flat_image_gives_nearly_the_mean_of_the_neighbours() -> None:
    maps = torch.rand(1, 9, 9, generator=rng())
    weights = Par(distances=DISTANCES).weights(torch.full((3, 9, 9), 0.4))
    near = Par().by_distance(weights.device).flatten()
    assert near[:8].sum() > 0.5 and near.sum() == pytest.approx(1)
    found = propagate(maps, weights, DISTANCES, 1)
    assert torch.allclose(found, torch.stack(list(neighbours(maps, DISTANCES))).mean(0), atol=0.01)
