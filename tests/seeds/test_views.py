from __future__ import annotations

import numpy as np
import torch
from torch import nn

from deft.seedmaps import grid
from deft.seeds.views import last_map, on_grid, pixels, resize, sampling


def test_views_have_sides_whose_cells_lie_on_pixels() -> None:
    for scale in (0.5, 1.0, 2.0):
        view = resize(torch.zeros(1, 3, 213, 320), scale, 16)
        assert [(side - 1) % 16 for side in view.shape[-2:]] == [0, 0]


def testsampling_is_linear_interpolation() -> None:
    weights = sampling(5, 65, 65, 4)
    row = torch.tensor([0.0, 1.0, 4.0, 9.0, 16.0])
    expected = np.interp(np.arange(0, 65, 4), np.arange(0, 65, 16), row.numpy())
    assert np.allclose((weights @ row).numpy(), expected, atol=1e-5)
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)))


def test_maps_at_every_pixel_of_the_grid() -> None:
    """A ramp over the cells is a ramp over the pixels read, in both directions."""
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(4.0), indexing="ij")
    read = on_grid(torch.stack([rows, columns]) * 16, (65, 49), (65, 49))
    assert read.shape == (2, *grid((65, 49))) == (2, 17, 13)
    assert torch.allclose(read[0, :, 0], torch.arange(0.0, 65, 4), atol=1e-4)
    assert torch.allclose(read[1, 0], torch.arange(0.0, 49, 4), atol=1e-4)


def test_pixels_are_the_images() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    batch = pixels(image[:, ::-1], torch.device("cpu"))
    assert batch.shape == (1, 3, 5, 7) and batch.dtype == torch.float32
    assert np.array_equal(batch[0].permute(1, 2, 0).numpy(), image[:, ::-1])


def test_the_last_map_is_that_of_all_views() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, stride=2)
    images = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(last_map(lambda x: [x, layer(x)], images), layer(images))
