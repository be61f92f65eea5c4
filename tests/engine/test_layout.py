from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from deft.backbone import build_backbone
from deft.engine.layout import ByPhases, channels_last


def test_convolutions_are_laid_out() -> None:
    module = channels_last(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3)))
    assert all(part.weight.is_contiguous(memory_format=torch.channels_last) for part in module)


def test_what_a_laid_out_network_makes_is_laid_out_too() -> None:
    module = channels_last(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1)))
    images = torch.rand(2, 3, 9, 9).contiguous(memory_format=torch.channels_last)
    assert module(images).is_contiguous(memory_format=torch.channels_last)


def test_a_network_that_torch_cannot_train_so_stays_as_it_is() -> None:
    module = channels_last(nn.Sequential(nn.Conv2d(3, 8, 1, stride=2), nn.Conv2d(8, 8, 3)))
    assert not module[1].weight.is_contiguous(memory_format=torch.channels_last)
    module(torch.rand(2, 3, 16, 16)).sum().backward()


@pytest.mark.parametrize(
    ("size", "dilation", "kernel"), [((8, 8), 2, 3), ((7, 10), 2, 3), ((9, 8), 4, 3), ((6, 5), 3, 5)]
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_dilated_depthwise_convolution_by_phases_is_the_same(
    size: tuple[int, int], dilation: int, kernel: int, bias: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=6, bias=bias).double()
    phased = channels_last(copy.deepcopy(plain))
    assert isinstance(phased, ByPhases)
    x = torch.rand(2, 6, *size, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    one, other = plain(x), phased(y)
    assert torch.allclose(one, other)
    weights = torch.rand_like(one)
    (one * weights).sum().backward()
    (other * weights).sum().backward()
    pairs = [(x, y), *zip(plain.parameters(), phased.parameters(), strict=True)]
    assert len(pairs) == 2 + bias
    for a, b in pairs:
        assert a.grad is not None and b.grad is not None
        assert torch.allclose(a.grad, b.grad)
    assert phased.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        assert torch.allclose(plain(x), phased(x))


def test_other_convolutions_stay_what_they_are() -> None:
    others = [
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        nn.Conv2d(6, 6, 3, padding=1, dilation=2, groups=6),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, stride=2),
        nn.Conv2d(6, 12, 3, padding=2, dilation=2, groups=6),
    ]
    assert not any(isinstance(part, ByPhases) for part in channels_last(nn.Sequential(*others)))


def test_timms_dilated_networks_are_trained_by_phases() -> None:
    backbone = build_backbone("mobilenetv2_100", "none", 16)
    images = torch.randint(256, (1, 3, 66, 66), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    before = backbone.eval()(images)[-1]
    phased = channels_last(backbone)
    assert sum(isinstance(part, ByPhases) for part in phased.modules()) == 3
    assert float((before - phased(images)[-1]).abs().max()) < 1e-4 * float(before.abs().max())
