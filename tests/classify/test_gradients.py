"""Gradients are those of each image's own loss, whatever the parts, and leave nothing behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.classify.gradients import evaluating, image_gradients
from fakes import rng


class Scores(nn.Module):
    """A small network with everything that training could disturb."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Conv2d(4, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_they_are_the_gradients_of_each_image_alone(parts: int) -> None:
    network = Scores().train()
    x, labels = torch.randn(5, 3, 8, 8, generator=rng()), torch.rand(5, 2, generator=rng(1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        scores, gradients = image_gradients(network, network, x, labels, parts)
    assert network.training and not scores.requires_grad and not gradients.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters()) and not x.requires_grad
    network.eval()
    for index in range(5):
        one = x[index : index + 1].clone().requires_grad_(True)
        expected = network(one)
        F.binary_cross_entropy_with_logits(expected, labels[index : index + 1], reduction="sum").backward()
        torch.testing.assert_close(scores[index : index + 1], expected.detach())
        torch.testing.assert_close(gradients[index : index + 1], one.grad)


def test_each_module_gets_its_own_mode_back_even_after_an_error() -> None:
    network = Scores().train()
    network.layers[1].eval()
    with pytest.raises(RuntimeError), evaluating(network):
        assert not any(module.training for module in network.modules())
        raise RuntimeError
    assert network.training and network.layers[3].training and not network.layers[1].training
