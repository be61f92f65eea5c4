"""Neighbours, means and the grid on which maps are propagated, beside loops over pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deft.contracts import InputError, SeedMaps
from deft.refine.pamr import Pamr
from deft.refine.par import Par
from deft.refine.pixel_adaptive import neighbours, on_grid, propagate, refined
from deft.seedmaps import grid, upsample
from fakes import Scenes, method_context, noise, rng
from references import weighted_neighbours

DISTANCES = (1, 3, 9)


def equal_weights(image: torch.Tensor) -> torch.Tensor:
    return torch.full((8 * len(DISTANCES), *image.shape[1:]), 1 / (8 * len(DISTANCES)))


def test_means_are_those_of_loops_over_pixels() -> None:
    maps, image = torch.rand(2, 6, 7, generator=rng()), torch.rand(3, 6, 7, generator=rng(1))
    weights = torch.rand(24, generator=rng(2)).softmax(0)
    found = propagate(maps, weights.view(-1, 1, 1).expand(-1, 6, 7), DISTANCES, 2)
    expected = weighted_neighbours(maps, image, DISTANCES, lambda own, others: weights, 2)
    assert torch.allclose(found, expected, atol=1e-6)


def test_neighbours_beyond_the_border_are_the_border() -> None:
    x = torch.arange(12.0).view(1, 3, 4)
    found = torch.stack(list(neighbours(x, (1, 5))))
    assert found.shape == (16, 1, 3, 4)
    assert found[:, 0, 0, 0].tolist() == [0, 0, 1, 0, 1, 4, 4, 5, 0, 0, 3, 0, 3, 8, 8, 11]


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("size", [(17, 24), (4, 9), (1, 1)])
def test_cells_are_centred_on_the_pixels_of_the_seeds_grid(stride: int, size: tuple[int, int]) -> None:
    image = noise(*size)
    found = on_grid(image, stride).cpu()
    assert found.shape == (3, *grid(size, stride))
    for row in range(found.shape[1]):
        for column in range(found.shape[2]):
            top, left = row * stride, column * stride
            around = image[max(0, top - stride + 1) : top + stride, max(0, left - stride + 1) : left + stride]
            assert np.allclose(found[:, row, column], around.reshape(-1, 3).mean(0) / 255, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_maps_stay_on_their_grid_and_a_threshold_stays_itself(stride: int) -> None:
    seeds = SeedMaps((0, 2), torch.rand(2, 5, 7, generator=rng()), (18, 26))
    found = refined(noise(18, 26), seeds, equal_weights, DISTANCES, 1, stride)
    assert (found.classes, found.size, found.maps.shape) == (seeds.classes, seeds.size, seeds.maps.shape)
    assert found.maps.dtype == torch.float32 and found.maps.min() >= 0 and found.maps.max() <= 1
    fine = upsample(seeds)[:, ::stride, ::stride]
    expected = torch.stack(list(neighbours(fine, DISTANCES))).mean(0)[:, :: 4 // stride, :: 4 // stride]
    assert torch.allclose(found.maps, expected, atol=1e-6)
    level = SeedMaps((0,), torch.full((1, 5, 7), 0.3), (18, 26))
    assert torch.allclose(refined(noise(18, 26), level, equal_weights, DISTANCES, 9, stride).maps, level.maps)


def test_nothing_is_done_where_there_is_no_class() -> None:
    empty = SeedMaps((), torch.zeros(0, 5, 7), (18, 26))
    assert refined(noise(18, 26), empty, equal_weights, DISTANCES, 3, 2) is empty
    assert propagate(empty.maps, torch.zeros(24, 5, 7), DISTANCES, 3).shape == (0, 5, 7)


@pytest.mark.parametrize("kind", [Pamr, Par])
def test_an_edge_keeps_labels_apart_and_a_hole_inside_it_is_filled(kind: type[Pamr] | type[Par]) -> None:
    image = torch.zeros(3, 40, 40)
    image[:, :, 20:] = 1
    maps = (image[:1] > 0.5).float()
    maps[0, 15:19, 28:32] = 0
    settings = kind(distances=(1, 2, 4, 8))
    found = propagate(maps, settings.weights(image), settings.distances, settings.iterations)
    assert found[0, :, :20].max() < 0.1 and found[0, :, 20:].min() > 0.5


@pytest.mark.parametrize("kind", [Pamr, Par])
def test_they_complete_objects_of_seeds(kind: type[Pamr] | type[Par], tmp_path: Path) -> None:
    def part(index: int) -> SeedMaps:
        seeds = Scenes().seeds(index)
        seeds.maps[0, :, ::2] = 0  # every other column of each object
        return seeds

    refine = kind(distances=(1, 2, 4)).prepare(method_context(Scenes(), tmp_path, seeds=part))
    for index in range(4):
        inside = torch.from_numpy(Scenes().scenes[index][1][::4, ::4].copy())
        found = refine(Scenes()[index], part(index))
        assert found.maps.shape == (1, *grid(found.size))
        right = [((one.maps[0] > 0.25) == inside).float().mean() for one in (part(index), found)]
        assert right[1] > right[0]


@pytest.mark.parametrize("kind", [Pamr, Par])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stride": 3}, r"\.stride: expected 1 or 2 or 4, got 3"),
        ({"distances": ()}, r"\.distances: expected one or more numbers"),
        ({"background": 1.0}, r"refine\.background"),
    ],
)
def test_settings_out_of_range_are_refused(kind: Callable[..., object], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        kind(**settings)
