"""On a CPU nothing is exchanged, but classes change, and what a network computes must not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from deft.backbone import build_backbone
from deft.engine.batch_norm import synchronised, trains_statistics


def one_step(net: nn.Module, images: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Feature maps and gradients; running statistics move."""
    net.zero_grad()
    maps = net(images)
    torch.stack([value.square().mean() for value in maps]).sum().backward()
    gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return [value.detach() for value in maps], gradients


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])  # the second with timm's BatchNormAct2d
@pytest.mark.parametrize("training", [True, False])
def test_a_network_computes_the_same_and_its_norms_are_synchronised(name: str, training: bool) -> None:
    torch.manual_seed(0)
    one = build_backbone(name).net.train(training)
    two = copy.deepcopy(one)
    images = torch.rand(2, 3, 32, 32)
    maps, gradients = one_step(one, images)
    kinds = [type(part) for part in two.modules()]
    norms = [part for part in two.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    with synchronised(two):
        assert all(isinstance(part, nn.SyncBatchNorm) for part in norms)
        same_maps, same_gradients = one_step(two, images)
    assert all(torch.equal(a, b) for a, b in zip(maps, same_maps, strict=True))
    assert gradients.keys() == same_gradients.keys()
    assert all(torch.equal(value, same_gradients[key]) for key, value in gradients.items())
    state = two.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in one.state_dict().items())
    assert [type(part) for part in two.modules()] == kinds


def test_classes_change_back_after_an_error_and_other_norms_are_left_alone() -> None:
    class Odd(nn.BatchNorm2d):
        pass

    net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(3), Odd(3), nn.GroupNorm(1, 3))
    with pytest.raises(ValueError, match="in the middle"), synchronised(net):
        assert [type(part) for part in net] == [nn.SyncBatchNorm, nn.SyncBatchNorm, Odd, nn.GroupNorm]
        raise ValueError("in the middle")
    assert [type(part) for part in net] == [nn.BatchNorm2d, nn.BatchNorm1d, Odd, nn.GroupNorm]


def test_whether_statistics_depend_on_the_division_of_a_batch() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    assert trains_statistics(network)
    assert not trains_statistics(network.eval())
    assert not trains_statistics(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)).train())
