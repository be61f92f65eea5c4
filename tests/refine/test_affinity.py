from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from deft.backbone.attention import Attention
from deft.contracts import SeedMaps
from deft.engine.features import Features
from deft.refine.affinity import (
    FeatureAffinity,
    attention_affinities,
    colour_affinities,
    cosine_affinities,
    radius_of,
)
from deft.refine.neighborhood import directions
from deft.seedmaps import from_cells, grid, to_cells
from references import dense_walk

SIZE = (4, 5)


def test_cosines_of_every_pair() -> None:
    features = torch.randn(6, *SIZE, generator=torch.Generator().manual_seed(0))
    found = cosine_affinities(features, 3)
    centred = features - features.mean(dim=(1, 2), keepdim=True)
    for number, (down, right) in enumerate(directions(3)):
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                left = x - max(0, -right)  # stored from the left end of where pairs begin
                if not 0 <= y + down < SIZE[0] or not 0 <= x + right < SIZE[1]:
                    continue
                expected = F.cosine_similarity(centred[:, y, x], centred[:, y + down, x + right], dim=0).clamp(min=0)
                assert abs(float(found[number, y, x] - expected)) < 1e-5, (left, number)


def slow_attention(query: torch.Tensor, key: torch.Tensor, radius: int) -> torch.Tensor:
    """All pairs in one matrix, a pair at a time."""
    height, width = SIZE
    first = query.shape[1] - height * width
    paid = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(-1).mean(0)[first:, first:]
    near = torch.zeros_like(paid)
    for i in range(height * width):
        for j in range(height * width):
            down, right = abs(i // width - j // width), abs(i % width - j % width)
            if i != j and max(down, right) < radius:
                near[i, j] = paid[i, j]
    near = near / near.amax(1, keepdim=True)
    return (near + near.T) / 2


def test_attention_of_every_pair_beside_registers() -> None:
    rng = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, 5 + 20, 8, generator=rng) for _ in range(2))
    found = attention_affinities(Attention(query[None], key[None], 8**-0.5, SIZE), 3)
    expected = slow_attention(query, key, 3)
    for number, (down, right) in enumerate(directions(3)):
        for y in range(SIZE[0] - down):
            for x in range(max(0, -right), SIZE[1] - max(0, right)):
                i, j = y * SIZE[1] + x, (y + down) * SIZE[1] + x + right
                assert abs(float(found[number, y, x] - expected[i, j])) < 1e-5
    assert found.amin() >= 0 and found.amax() <= 1
    assert radius_of(len(found)) == 3


def test_colours() -> None:
    image = np.zeros((8, 12, 3), dtype=np.uint8)
    image[:, 8:] = 30
    across, _, down, _ = colour_affinities(image, (2, 3), 2, deviation=15.0)
    apart = np.exp(-3 * 4 / 2)
    np.testing.assert_allclose(across.numpy(), [[1, apart, 0]] * 2, rtol=1e-5)
    np.testing.assert_allclose(down.numpy(), [[1, 1, 1], [0, 0, 0]])


def test_refined_maps_equal_those_of_the_dense_walk() -> None:
    """On features in 16 bits, with colours: the affinity of a pair to the power of beta, times that of its colours."""
    rng = torch.Generator().manual_seed(4)
    size, cells, radius, beta = (48, 64), (6, 8), 3, 4.0
    image = torch.randint(0, 40, (*size, 3), dtype=torch.uint8, generator=rng).numpy()
    stored = cosine_affinities(torch.randn(5, *cells, generator=rng), radius + 1).half()
    seeds = SeedMaps((0, 2), torch.rand(2, *grid(size), generator=rng), size)
    refiner = FeatureAffinity(radius=radius, beta=beta, colour=9.0, steps=2**6, power=1.0)
    found = refiner.spread(Features(torch.zeros(1, *cells), stored), seeds, image).maps

    colours = image.reshape(6, 8, 8, 8, 3).mean(axis=(1, 3))
    known = list(directions(radius + 1))

    def affinity(y: int, x: int, down: int, right: int) -> float:
        apart = ((colours[y, x] - colours[y + down, x + right]) ** 2).sum()
        return float(stored[known.index((down, right)), y, x]) * float(np.exp(-apart / (2 * 9.0**2))) ** (1 / beta)

    begin = to_cells(seeds.maps, size, cells)
    expected = from_cells(dense_walk(begin, affinity, radius, beta=beta, squarings=6), size)
    torch.testing.assert_close(found, (expected / expected.max()).float(), atol=2e-4, rtol=0)


def test_cells_and_the_grid_of_seeds() -> None:
    """What changes evenly over an image does so on both grids, up to its edges."""
    size = (32, 48)
    ramp = (torch.arange(6) + 0.5) * 8 - 0.5  # the pixel on which a cell of 8 is centred
    fine = from_cells(ramp.expand(4, 6)[None], size)
    assert fine.shape[1:] == grid(size)
    torch.testing.assert_close(fine[0, 0, 1:11], torch.arange(1, 11) * 4.0)
    back = to_cells(torch.arange(12).expand(1, 8, 12) * 4.0, size, (4, 6))
    torch.testing.assert_close(back[0, 0, :5], ramp[:5])


def test_maps_stay_on_their_object() -> None:
    """Two halves of different features: what was found at one spot of the left half fills it, and not the right one."""
    features = torch.zeros(2, 6, 8)
    features[0, :, :4], features[1, :, 4:] = 1, 1
    seeds = torch.zeros(1, *grid((48, 64)))
    seeds[0, 5, 3] = 1
    refiner = FeatureAffinity(radius=3, colour=0.0, steps=64)
    known = Features(features, cosine_affinities(features, 3))
    found = refiner.spread(known, SeedMaps((1,), seeds, (48, 64)), np.zeros((48, 64, 3), dtype=np.uint8))
    assert found.maps.shape == seeds.shape and float(found.maps.max()) == 1
    assert float(found.maps[0, :, :7].min()) > 0.2
    assert float(found.maps[0, :, 9:].max()) < 1e-3
    empty = refiner.spread(known, SeedMaps((), seeds[:0], (48, 64)), np.zeros((48, 64, 3), dtype=np.uint8))
    assert len(empty.maps) == 0
