"""Centres of cells, against networks whose centres can be computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deft.backbone import Backbone, Views, build_backbone, frozen_net, with_views
from deft.backbone.geometry import _snapped, centres, offsets_of


class Chain(nn.Module):
    """Layers whose every output is a feature map, in the form of timm's extractors."""

    pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "input_size": (3, 224, 224)}  # noqa: RUF012

    def __init__(self, layers: list[nn.Module], strides: list[int]) -> None:
        super().__init__()
        self.layers, self.strides = nn.ModuleList(layers), strides

    @property
    def feature_info(self) -> Chain:
        return self

    def channels(self) -> list[int]:
        return [3] * len(self.strides)

    def reduction(self) -> list[int]:
        return self.strides

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return maps


def conv(kernel: int, stride: int, padding: int, dilation: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, kernel, stride, padding, dilation), nn.BatchNorm2d(3), nn.ReLU(inplace=True))


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 2, 1), (3, 2, 1)],
        [(4, 4, 0), (2, 2, 0)],
        [(7, 4, 2), (3, 2, 1)],  # MetaFormer's stem
        [(3, 2, 0), (3, 1, 0), (3, 2, 1)],  # Xception's
    ],
)
def test_the_centre_of_a_chain_follows_from_kernels_and_padding(layers: list[tuple[int, int, int]]) -> None:
    """Each layer moves the centre by (kernel - 1) / 2 - padding of its input's cells."""
    torch.manual_seed(0)
    expected, strides, place, step = [], [], 0.0, 1
    for kernel, stride, padding in layers:
        place += ((kernel - 1) / 2 - padding) * step
        step *= stride
        expected.append(place)
        strides.append(step)
    chain = Backbone(Chain([conv(*layer) for layer in layers], strides), "chain", step).eval()
    assert centres(chain) == pytest.approx(expected, abs=0.1)


def test_pools_that_round_up_move_cells() -> None:
    """Each of VoVNet's begins on a cell, and has its middle on the next."""
    torch.manual_seed(0)
    layers = [nn.MaxPool2d(3, 2, ceil_mode=True) for _ in range(3)]
    assert centres(Backbone(Chain([conv(3, 1, 1), *layers], [1, 2, 4, 8]), "chain", 8).eval()) == pytest.approx(
        [0, 1, 3, 7], abs=0.1
    )


@pytest.mark.parametrize(
    ("measured", "own", "expected"), [(0.9, 32, 0), (15.1, 32, 15.5), (27.4, 32, 27.5), (7.6, 8, 7.5), (-14.6, 4, 0)]
)
def test_a_usual_centre_is_taken_if_it_is_near(measured: float, own: int, expected: float) -> None:
    assert _snapped(measured, own) == expected


@pytest.mark.parametrize(
    ("name", "stride", "patches", "expected"),
    [
        ("resnet18", 16, False, 0),
        ("tf_efficientnet_lite0", 16, False, 0),
        ("mobilenetv2_100", 32, False, 0),
        ("vgg11", 32, True, 15.5),
        ("vit_tiny_patch16_224", 16, True, 7.5),
        ("pvt_v2_b0", 32, True, 0),
        ("convnext_atto", 32, True, 15.5),
        ("convnext_atto", 8, True, 7.0),  # a dilated kernel of 2 is padded on one side only
        ("ese_vovnet19b_slim", 32, True, 27.5),
    ],
)
def test_centres_of_networks(name: str, stride: int, patches: bool, expected: float) -> None:
    inner = build_backbone(name, "none", stride, own_stride=True)
    state = torch.get_rng_state()
    assert inner.extra == (not patches)
    assert offsets_of(inner)[-1] == pytest.approx(expected, abs=0.5 if patches else 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_mirrored_views_are_put_back_where_their_cells_lie() -> None:
    """Mirrored images have mirrored features, also where the first cell is not as far from its border as the last."""
    inner = build_backbone("ese_vovnet19b_slim", "none", 32)
    frozen = with_views(inner, Views(128, (1.0,), True, 2, 2, 8))
    x = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        torch.testing.assert_close(frozen(x)[0], frozen(x.flip(-1))[0].flip(-1), atol=1e-4, rtol=1e-4)
    net = frozen_net(frozen)
    cells = torch.arange(5.0).expand(1, 1, 4, 5)  # a ramp, whose cells are centred on 27.5, 59.5, ...
    for mirrored in (False, True):
        found = net._on_grid(cells, len(net.offsets) - 1, (128, 160), (128, 160), mirrored)[0, 0, 0]
        first = 160 - 1 - 27.5 - 4 * 32 if mirrored else 27.5
        torch.testing.assert_close(found, ((torch.arange(20) * 8 + 3.5 - first) / 32).clamp(0, 4))
