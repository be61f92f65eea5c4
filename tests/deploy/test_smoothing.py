"""PAMR of a batch, made of what an exported graph can hold, is the refiner's on each image."""

from __future__ import annotations

import torch

from deft.deploy.smoothing import around, smoothed, weights_of
from deft.refine.pamr import Pamr
from deft.refine.pixel_adaptive import neighbours, propagate
from fakes import rng

SETTINGS = Pamr(distances=(1, 2, 5), iterations=3)


def test_neighbours_are_those_of_the_refiner() -> None:
    maps = torch.rand(2, 4, 7, 9, generator=rng(1))
    found = torch.cat(list(around(maps, (1, 2, 12))), dim=2)
    for index, one in enumerate(maps):
        expected = torch.stack(list(neighbours(one, (1, 2, 12))), dim=1)
        assert torch.equal(found[index], expected)


def test_every_image_of_a_batch_is_smoothed_as_the_refiner_does() -> None:
    maps, images = torch.rand(2, 4, 11, 9, generator=rng(2)), torch.rand(2, 3, 11, 9, generator=rng(3))
    found, weights = smoothed(maps, images, SETTINGS), torch.cat(weights_of(images, SETTINGS), dim=1)
    for index in range(2):
        expected = SETTINGS.weights(images[index])
        torch.testing.assert_close(weights[index], expected)
        torch.testing.assert_close(found[index], propagate(maps[index], expected, SETTINGS.distances, 3))


def test_probabilities_stay_probabilities() -> None:
    maps = torch.rand(1, 5, 8, 8, generator=rng(4)).softmax(dim=1)
    found = smoothed(maps, torch.rand(1, 3, 8, 8, generator=rng(5)), SETTINGS)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(1, 8, 8))
    assert float(found.amin()) >= 0
