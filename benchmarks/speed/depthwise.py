"""Backward passes of depthwise convolutions in bfloat16, beside torch's own, and how far either is from float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from measure import Row, compare, relative, show
from torch import Tensor, nn

from deft.engine.layout import channels_last

SHAPES = {
    "3x3, dilation 2, 16 x 960 x 14 x 14 (MobileNetV2)": (16, 960, 14, 14, 3, 1, 2),
    "5x5, dilation 2, 16 x 1152 x 14 x 14 (EfficientNet-Lite0)": (16, 1152, 14, 14, 5, 1, 2),
    "5x5, 16 x 672 x 14 x 14 (EfficientNet-Lite0)": (16, 672, 14, 14, 5, 1, 1),
    "3x3, dilation 2, 4 x 96 x 57 x 63": (4, 96, 57, 63, 3, 1, 2),
    "3x3, stride 2, 16 x 96 x 112 x 112 (both)": (16, 96, 112, 112, 3, 2, 1),
    "5x5, stride 2, 16 x 144 x 56 x 56 (EfficientNet-Lite0)": (16, 144, 56, 56, 5, 2, 1),
}
"""Images, channels, height, width, kernel, stride and dilation."""


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Forward and backward of both on the same maps; on the CPU, where the own pass is used."""
    cpu = torch.device("cpu")
    shapes = {"5x5, 1 x 8 x 9 x 8": (1, 8, 9, 8, 5, 1, 1)} if quick else SHAPES
    for name, (images, channels, height, width, kernel, stride, dilation) in shapes.items():
        torch.manual_seed(0)
        padding = dilation * (kernel // 2)
        plain = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, channels, bias=False)
        own = channels_last(copy.deepcopy(plain))
        exact = copy.deepcopy(plain).double()
        plain = plain.to(memory_format=torch.channels_last)
        maps = torch.randn(images, channels, height, width).to(memory_format=torch.channels_last)
        slope = torch.randn_like(plain(maps).detach())
        with torch.enable_grad():
            wanted = _weights(exact, exact(maps.double()), slope.double())
            theirs, ours = _step(plain, maps, slope), _step(own, maps, slope)
            far = [relative(step().double(), wanted) for step in (theirs, ours)]
            times = compare(theirs, ours, cpu, 2 if quick else 9)
        yield Row(
            what=f"depthwise convolution, forward and backward, {name}",
            beside="torch, channels last",
            theirs=times[0],
            ours=times[1],
            difference=f"weight gradient {far[1]:.1e} from float64's; torch's {far[0]:.1e}",
            goal="",
            note="bfloat16",
            runs=2 if quick else 9,
        )


def _step(module: nn.Module, maps: Tensor, slope: Tensor) -> Callable[[], Tensor]:
    """A function that computes the weight gradient in bfloat16."""

    def step() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            made = module(maps.detach().requires_grad_())
        return _weights(module, made, slope.to(made.dtype))

    return step


def _weights(module: nn.Module, made: Tensor, slope: Tensor) -> Tensor:
    """Gradient of the weights, after a whole backward pass."""
    module.zero_grad(set_to_none=True)
    torch.autograd.backward(made, slope)
    gradient = next(module.parameters()).grad
    assert gradient is not None
    return gradient


if __name__ == "__main__":
    show(rows(torch.device("cpu"), quick=False))
