"""Memory layouts of networks that make convolutions fast, on a CPU and on tensor cores."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Module = TypeVar("Module", bound=nn.Module)


def channels_last(module: Module) -> Module:
    """Lay out a network's weights channels last, except where torch cannot compute with them.

    Dilated depthwise convolutions are computed as :class:`ByPhases` from then on. Names of weights do not change.

    torch 2.15 crashes without a message in the backward pass of a 1x1 convolution with a stride on an image of three
    channels (RepVGG begins with one), if its weights are channels last: a network that holds one stays as it is.
    """
    for part in module.modules():
        if _can_be_phased(part):
            part.__class__ = ByPhases
    for part in module.modules():
        if (
            isinstance(part, nn.Conv2d)
            and part.in_channels <= 3
            and part.kernel_size == (1, 1)
            and part.stride != (1, 1)
        ):
            return module
    return cast(Module, cast(Any, module).to(memory_format=torch.channels_last))


class ByPhases(nn.Conv2d):
    """A dilated depthwise convolution that is trained on a CPU as a plain one on each of its d x d phases.

    A convolution of dilation d looks at every d-th row and column, so that it is d x d convolutions side by side. The
    results are the same. In bfloat16, torch's backward pass through a dilated convolution takes twelve times as long as
    through a plain one; with splitting into phases and merging them, the plain one is still four times as fast.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve as ``nn.Conv2d`` with a padding that keeps the size: (N, C, h, w) to (N, C, h, w)."""
        learns = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        reach, dilation = self.dilation[0] * (self.kernel_size[0] - 1) // 2, self.dilation[0]
        if x.is_cuda or not learns:
            return F.conv2d(x, self.weight, self.bias, 1, reach, dilation, self.groups)
        height, width = x.shape[-2:]
        down, right = -height % dilation, -width % dilation
        phases = F.pixel_unshuffle(F.pad(x, (0, right, 0, down)) if down or right else x, dilation)
        weight = self.weight.repeat_interleave(dilation**2, 0)
        bias = None if self.bias is None else self.bias.repeat_interleave(dilation**2, 0)
        made = F.conv2d(
            phases.contiguous(memory_format=torch.channels_last),
            weight.contiguous(memory_format=torch.channels_last),
            bias,
            padding=self.kernel_size[0] // 2,
            groups=phases.shape[1],
        )
        return F.pixel_shuffle(made, dilation)[..., :height, :width]


def _can_be_phased(part: nn.Module) -> bool:
    """Whether a module is a dilated depthwise convolution of stride 1 whose padding keeps the size."""
    if not isinstance(part, nn.Conv2d) or type(part).__name__ not in ("Conv2d", "Conv2dSame"):  # timm's pads by itself
        return False
    (rows, columns), (down, right) = part.kernel_size, part.dilation
    keeps_size = type(part).__name__ == "Conv2dSame" or part.padding == (down * (rows - 1) // 2,) * 2
    square = rows == columns and rows % 2 == 1 and down == right and down > 1
    depthwise = part.groups == part.in_channels == part.out_channels
    return depthwise and square and part.stride == (1, 1) and keeps_size and part.padding_mode == "zeros"
