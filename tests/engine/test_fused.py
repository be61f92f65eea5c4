from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from deft.backbone import Backbone, build_backbone
from deft.engine.fused import fused


def settled(name: str) -> Backbone:
    """A network whose batch norms do something."""
    torch.manual_seed(0)
    backbone = build_backbone(name, "none", 16)
    for part in backbone.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
            part.running_mean.normal_(std=0.2)
            part.running_var.uniform_(0.5, 1.5)
    return backbone.eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_all_maps_and_gradients_are_the_same(name: str) -> None:
    network = settled(name)
    before = copy.deepcopy(network.state_dict())
    faster = fused(network)
    images = torch.rand(2, 3, 65, 81) * 255
    for way in (network, faster):
        way.requires_grad_(False)
    results = []
    for way in (network, faster):
        x = way.normalise(images).requires_grad_()
        maps = way.features(x)
        results.append([*maps, torch.autograd.grad(sum(one.sum() for one in maps), x)[0]])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(one.detach().abs().max()))
    left = sum(isinstance(part, nn.BatchNorm2d) for part in faster.modules())
    assert left == 0
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("bias", [False, True])
def test_weights_are_those_of_torchs_own_fusion(bias: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=bias), nn.BatchNorm2d(8)).eval()
    conv, norm = network
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 1.5)
    merged, expected = fused(network)[0], fuse_conv_bn_eval(conv, norm)
    assert torch.equal(merged.weight, expected.weight)
    assert torch.allclose(merged.bias, expected.bias, rtol=0, atol=1e-6)


class Shared(nn.Module):
    """What a norm reads is read by something else too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, images: Tensor) -> Tensor:
        made = self.conv(images)
        found: Tensor = self.norm(made) + made
        return found


def test_what_cannot_be_merged_is_copied_as_it_is() -> None:
    network = Shared().eval()
    copied, images = fused(network), torch.rand(1, 3, 9, 9)
    assert isinstance(copied.norm, nn.BatchNorm2d)
    assert torch.equal(copied(images), network(images))


def test_norms_that_still_learn_stay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=True), nn.BatchNorm2d(4))
    network[3].eval()
    copied = fused(network)
    assert isinstance(copied[1], nn.BatchNorm2d) and isinstance(copied[3], nn.Identity)
