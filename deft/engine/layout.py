"""Memory layout of a network: channels last, in which convolutions on a CPU and on tensor cores are faster."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def channels_last(module: Module) -> Module:
    """Lay out a network's weights channels last, except where torch cannot compute with them.

    torch 2.15 ends without a message in the backward pass of a 1x1 convolution with a stride on an image of three
    channels (RepVGG begins with one), if its weights are channels last: a network that holds one stays as it is.
    """
    for part in module.modules():
        if (
            isinstance(part, nn.Conv2d)
            and part.in_channels <= 3
            and part.kernel_size == (1, 1)
            and part.stride != (1, 1)
        ):
            return module
    return cast(Module, cast(Any, module).to(memory_format=torch.channels_last))
