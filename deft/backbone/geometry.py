"""Where the cells of a network's feature maps are centred in its image.

Networks that pad their convolutions have k + 1 cells for ``k * stride + 1`` pixels, centred on every ``stride``-th one
from the first. All others look at views of whole cells, ``k * stride`` pixels. Their cells are centred on the middle of
patches if they begin with patches that they do not overlap, as ViT, Swin and ConvNeXt do; but pooling and convolutions
without padding move them, and so do convolutions that are dilated for a finer stride. Their centres are measured: the
gradient of a cell with regard to the image is centred on it. The network that is measured has the layers of the one
that is used and other weights, so that the result depends on its architecture alone: spatial kernels are the same
everywhere, activations are left out, and pools take means instead of maxima. The gradient of a chain of convolutions is
then centred exactly; where paths with several centres are added it lies between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from deft.backbone.network import Backbone, created

_CELLS = 7
"""Cells of the row that is measured: an odd number, whose middle one sees as much on either side."""
_NEAR = 1 / 8
"""Share of a cell up to which a measured centre counts as the usual one."""
_PASSED = frozenset(
    [
        *("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "elu", "elu_"),
        *("gelu", "silu", "silu_", "mish", "hardswish", "hardswish_"),
    ]
)
"""Activations that are left out, as torch calls them."""


def offsets_of(inner: Backbone) -> tuple[float, ...]:
    """Pixel of a view, of the size that suits the network, on which the first cell of each feature map is centred."""
    if inner.extra:
        return (0.0,) * len(inner.reductions)
    return _measured(inner.name, inner.stride, inner.pad_type, inner._multiple)


@cache
def _measured(name: str, stride: int, pad_type: str | None, multiple: int) -> tuple[float, ...]:
    """Offsets of the feature maps of timm's network of that name, in views of whole cells."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = created(name, stride, pad_type, {} if pad_type is None else {"pad_type": pad_type}).eval()
        network._multiple = multiple
        found = centres(network)
    return tuple(_snapped(offset, own) for offset, own in zip(found, network.reductions, strict=True))


def _snapped(offset: float, own: int) -> float:
    """One of the usual centres, a cell's first pixel and its middle, if it is near; else the next half pixel.

    What lies more than a cell from them is what coarser maps added to this one, as in HRNet, and no centre.
    """
    usual = min((0.0, (own - 1) / 2), key=lambda centre: abs(offset - centre))
    near = abs(offset - usual) <= own * _NEAR or abs(offset - usual) > own
    return usual if near else round(2 * offset) / 2


def centres(network: Backbone) -> list[float]:
    """Centroid of the gradient of a cell in the middle, less what its number accounts for, for each feature map.

    Args:
        network: in eval mode; its weights are changed.
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 4:
                count = parameter.shape[-1] * parameter.shape[-2]
                parameter.copy_(parameter.mean((-2, -1), keepdim=True) * count**0.5)
            elif parameter.ndim == 1 and not name.endswith("bias"):
                parameter.fill_(1)  # scales that begin with 0 would close a path
    unit = network.reductions[-1]
    width, images = _CELLS * unit, 4
    colours, noise = torch.randn(images, 3, 1, 1), torch.randn(images, 3, 3 * unit, width)
    x = (colours + noise / 100).requires_grad_()
    pixel = torch.arange(width, dtype=torch.float64)
    found = []
    with torch.enable_grad():
        with _Linear():
            maps = network.features(x)
        for cells, own in zip(maps, network.reductions, strict=True):
            usual, count = (own - 1) / 2, cells.shape[-1]
            column = min(max(round(((width - 1) / 2 - usual) / own), 0), count - 1)
            signs = torch.randint(0, 2, cells.shape[:2]) * 2 - 1
            target = (cells[:, :, cells.shape[-2] // 2, column] * signs).sum()
            (gradient,) = torch.autograd.grad(target, x, retain_graph=True)
            share = gradient.double().abs().sum((1, 2))
            share = (share / share.sum(1, keepdim=True)).square()  # a cell of a transformer sees a little of all others
            centre = float((share / share.sum(1, keepdim=True)).mean(0) @ pixel)
            found.append(centre - column * own if centre == centre else usual)  # nan: no gradient arrives
    return found


class _Linear(TorchFunctionMode):
    """Within the block activations do nothing, and maxima are means, so that gradients do not depend on values."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        named, name = named or {}, getattr(function, "__name__", "")
        if name in _PASSED:
            return arguments[0] if arguments else named["input"]
        if name in ("max_pool2d", "_max_pool2d"):
            return _mean_pool(*arguments, **named)
        return function(*arguments, **named)


def _mean_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The mean where :func:`torch.nn.functional.max_pool2d` has the maximum, dilated or not."""
    if dilation not in (1, (1, 1)) or return_indices:
        return F.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode)
