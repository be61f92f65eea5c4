from __future__ import annotations

import torch
from torch import nn

from deft.engine.layout import channels_last


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
