from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deft.backbone import build_backbone
from deft.seedmaps import grid
from deft.seeds.views import last_map, on_grid, pixels, resize, sampling


def test_views_have_sides_whose_cells_lie_on_pixels() -> None:
    for scale in (0.5, 1.0, 2.0):
        view = resize(torch.zeros(1, 3, 213, 320), scale, 16, 1)
        assert [(side - 1) % 16 for side in view.shape[-2:]] == [0, 0]


def testsampling_is_linear_interpolation() -> None:
    weights = sampling(5, 65, 65, 4, 1)
    row = torch.tensor([0.0, 1.0, 4.0, 9.0, 16.0])
    expected = np.interp(np.arange(0, 65, 4), np.arange(0, 65, 16), row.numpy())
    assert np.allclose((weights @ row).numpy(), expected, atol=1e-5)
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)))


def test_maps_at_every_pixel_of_the_grid() -> None:
    """A ramp over the cells is a ramp over the pixels read, in both directions."""
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(4.0), indexing="ij")
    read = on_grid(torch.stack([rows, columns]) * 16, (65, 49), (65, 49), 1)
    assert read.shape == (2, *grid((65, 49))) == (2, 17, 13)
    assert torch.allclose(read[0, :, 0], torch.arange(0.0, 65, 4), atol=1e-4)
    assert torch.allclose(read[1, 0], torch.arange(0.0, 49, 4), atol=1e-4)


def test_cells_that_are_patches_are_centred_on_their_middles() -> None:
    """Means of the patches of a ramp over the pixels are that ramp again, but beyond the first and last centre."""
    ramp = torch.arange(96.0).expand(1, 1, 64, 96)
    cells = F.avg_pool2d(ramp, 16)[0]
    read = on_grid(cells, (64, 96), (64, 96), extra=0)
    assert read.shape == (1, 16, 24)
    assert torch.allclose(read[0, 3], torch.arange(0, 96, 4).float().clamp(7.5, 96 - 8.5), atol=1e-4)
    one = on_grid(cells[:, :1, :1], (16, 16), (40, 30), extra=0)
    assert torch.allclose(one, cells[:, :1, :1].expand(1, *grid((40, 30))))
    assert resize(torch.zeros(1, 3, 213, 320), 0.5, 16, extra=0).shape[-2:] == (112, 160)


@pytest.mark.parametrize(
    ("name", "stride", "cells"),
    [("vit_tiny_patch16_224", 16, 5), ("swin_tiny_patch4_window7_224", 32, 5), ("resnet18", 16, 6)],
)
def test_cells_of_an_image_and_its_mirror_image_coincide(name: str, stride: int, cells: int) -> None:
    """Where the gradient of a cell is centred, in a view that suits the network and in the mirrored one."""
    torch.manual_seed(0)
    backbone = build_backbone(name, "none", stride).eval()
    extra = backbone.extra
    view = resize(torch.rand(4, 3, 3 * stride, 5 * stride) * 255, 1.0, stride, extra)
    centres = []
    for mirrored in (False, True):
        seen = view.clone().requires_grad_()
        maps = backbone(seen.flip(-1) if mirrored else seen)[-1]
        maps = maps.flip(-1) if mirrored else maps
        assert maps.shape[-1] == cells
        signs = torch.randint(0, 2, maps.shape[:2]) * 2 - 1
        (gradient,) = torch.autograd.grad((maps[:, :, 1, 2] * signs).sum(), seen)
        energy = gradient.square().sum((0, 1, 2)).double()
        centres.append(float((energy / energy.sum()) @ torch.arange(len(energy)).double()))
    expected = 2 * stride + (0 if extra else (stride - 1) / 2)
    assert centres == pytest.approx([expected, expected], abs=stride / 8)


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
