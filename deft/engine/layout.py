"""Memory layouts of networks that make convolutions fast, on a CPU and on tensor cores."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Module = TypeVar("Module", bound=nn.Module)


def channels_last(module: Module) -> Module:
    """Lay out a network's weights channels last, except where torch cannot compute with them.

    Depthwise convolutions that torch trains slowly become :class:`Depthwise`. Names of weights do not change.

    torch 2.15 crashes without a message in the backward pass of a 1x1 convolution with a stride on an image of three
    channels (RepVGG begins with one), if its weights are channels last: a network that holds one stays as it is.
    """
    for part in module.modules():
        if _is_slow(part):
            changed: Any = part
            changed.before, changed.__class__ = type(part), Depthwise
    for part in module.modules():
        if (
            isinstance(part, nn.Conv2d)
            and part.in_channels <= 3
            and part.kernel_size == (1, 1)
            and part.stride != (1, 1)
        ):
            return module
    return cast(Module, cast(Any, module).to(memory_format=torch.channels_last))


class Depthwise(nn.Conv2d):
    """A depthwise convolution of stride 1 or 2 whose backward pass on a CPU consists of convolutions that are fast.

    oneDNN has a fast backward pass only for 3x3 depthwise kernels without stride and dilation, and torch 2.14's weight
    gradient of dilated ones in bfloat16 is wrong for some sizes. Here the gradient of the input is the forward
    convolution with the mirrored kernel, and that of the weights is computed in blocks of 3x3 on the d x d phases of
    the maps (the rows and columns whose index has the same remainder by the dilation d). A convolution of stride 2 is
    one of stride 1 of which every second row and column is kept: its gradient is 0 in the others.
    ``benchmarks/speed/depthwise.py`` compares time and error.
    """

    before: type[nn.Conv2d]
    """The class that the module had: timm's pads by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve as ``nn.Conv2d`` with a padding that keeps the size: (N, C, h, w) to (N, C, h / s, w / s)."""
        weight, dilation, stride = self.weight, self.dilation[0], self.stride[0]
        learns = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
        if torch.is_autocast_enabled("cpu"):
            x, weight = x.to(torch.get_autocast_dtype("cpu")), weight.to(torch.get_autocast_dtype("cpu"))
        torch_is_faster = x.dtype != torch.bfloat16 and (self.kernel_size[0] > 3 or stride > 1)
        in_blocks = learns and not x.is_cuda and not torch_is_faster
        if not in_blocks and stride > 1:
            return self.before.forward(self, x)
        if not in_blocks:
            return F.conv2d(x, weight, self.bias, 1, _reach(weight, dilation), dilation, self.groups)
        padding = self._padding(x.shape[-1]) + self._padding(x.shape[-2])
        with torch.autocast("cpu", enabled=False):
            made: Tensor = _Depthwise.apply(x, weight, stride, dilation, padding)
        return made if self.bias is None else made + self.bias.to(made.dtype)[:, None, None]

    def _padding(self, side: int) -> tuple[int, int]:
        """Cells before the first of ``side`` cells and after the last; TensorFlow's may be one less before."""
        reach, stride = _reach(self.weight, self.dilation[0]), self.stride[0]
        if stride == 1 or self.padding != (0, 0):
            return reach, reach
        both = max((-(-side // stride) - 1) * stride + self.kernel_size[0] - side, 0)
        return both // 2, both - both // 2


class _Depthwise(torch.autograd.Function):
    """The convolution of :class:`Depthwise`, without its bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int, padding: tuple[int, int, int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation, ctx.padding = stride, dilation, padding
        reach = _reach(weight, dilation)
        if padding != (reach,) * 4:
            x, reach = F.pad(x, padding), 0
        return F.conv2d(x, weight, None, stride, reach, dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        reach = _reach(weight, ctx.dilation)
        gradient = _spread(gradients[0], x, ctx.stride, reach - ctx.padding[2], reach - ctx.padding[0])
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            mirrored = weight.flip(2, 3).contiguous(memory_format=torch.channels_last)
            of_input = F.conv2d(gradient, mirrored, None, 1, reach, ctx.dilation, len(weight))
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(_phases(x, ctx.dilation), _phases(gradient, ctx.dilation), weight)
        return of_input, of_weight, None, None, None


def _spread(gradient: Tensor, x: Tensor, stride: int, top: int, left: int) -> Tensor:
    """The gradient of all cells that a convolution of stride 1 makes of x, of which every ``stride``-th was kept."""
    if stride == 1:
        return gradient
    spread = torch.zeros_like(x, memory_format=torch.channels_last)
    spread[..., top::stride, left::stride] = gradient
    return spread


def _weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """Weight gradient of an undilated depthwise convolution: the k x k taps are computed in blocks of 3x3.

    Args:
        x: input, (N, C, h, w).
        gradient: of the output, (N, C, h, w).
        weight: (C, 1, k, k), for its shape and type; k is odd and at least 3.
    """
    side, (height, width) = weight.shape[-1], x.shape[-2:]
    x = F.pad(x, (side // 2,) * 4)
    made = torch.empty_like(weight)
    starts = [min(start, side - 3) for start in range(0, side, 3)]
    for down in starts:
        for right in starts:
            made[..., down : down + 3, right : right + 3] = torch.ops.aten.convolution_backward(
                gradient,
                x[..., down : down + height + 2, right : right + width + 2].contiguous(
                    memory_format=torch.channels_last
                ),
                weight[..., :3, :3].contiguous(memory_format=torch.channels_last),  # only its shape matters
                None,
                [1, 1],
                [0, 0],
                [1, 1],
                False,
                [0, 0],
                len(weight),
                [False, True, False],
            )[1]
    return made


def _phases(maps: Tensor, dilation: int) -> Tensor:
    """The d x d phases of maps (N, C, h, w) as further images of equal, zero-padded sizes: (d * d * N, C, h/d, w/d)."""
    if dilation == 1:
        return maps
    height, width = maps.shape[-2:]
    maps = F.pad(maps, (0, -width % dilation, 0, -height % dilation))
    images, channels, height, width = maps.shape
    parts = maps.view(images, channels, height // dilation, dilation, width // dilation, dilation)
    return parts.permute(3, 5, 0, 2, 4, 1).flatten(0, 2).permute(0, 3, 1, 2)


def _reach(weight: Tensor, dilation: int) -> int:
    """Padding that keeps the size."""
    return dilation * (weight.shape[-1] // 2)


def _is_slow(part: nn.Module) -> bool:
    """Whether a module is a depthwise convolution that :class:`Depthwise` trains faster and that keeps the size."""
    if not isinstance(part, nn.Conv2d) or type(part).__name__ not in ("Conv2d", "Conv2dSame"):  # timm's pads by itself
        return False
    (rows, columns), (down, right) = part.kernel_size, part.dilation
    keeps_size = type(part).__name__ == "Conv2dSame" or part.padding == (down * (rows - 1) // 2,) * 2
    square = rows == columns and rows % 2 == 1 and rows >= 3 and down == right
    slow = (part.stride == (1, 1) and (down > 1 or rows > 3)) or (part.stride == (2, 2) and down == 1)
    depthwise = part.groups == part.in_channels == part.out_channels
    return depthwise and square and slow and keeps_size and part.padding_mode == "zeros"
