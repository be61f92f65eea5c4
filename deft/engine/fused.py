"""Batch norm as part of the convolution before it: fewer passes over the features of a network that no longer trains.

In eval mode a batch norm multiplies and shifts each channel by numbers that do not change, and so do the weights and
the bias of a convolution. In float32 the two ways differ by rounding alone. In 16 bits the merged bias is rounded where
the norm's own shift was not: measure before using it there.

The arithmetic is that of :func:`torch.nn.utils.fuse_conv_bn_eval`, which leaves it to the caller to know what follows
what. It stands here once more because torch rounds the bias in another order, and the long climb of AdvCAM turns a last
bit into a hundredth of a map: what is stored would change.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

TOLERANCE = 1e-3
"""Maximum difference on the probe, relative to the largest value of each output; above it a network is not merged."""


@torch.no_grad()
def fused(module: Module) -> Module:
    """A copy of a network whose batch norms are merged with the convolutions they follow.

    Which batch norm follows which convolution is found by running the network once. If that is not sufficient, because
    another module uses the same convolution or weights are standardised during the forward pass, outputs differ, and
    the network is copied unchanged.

    Args:
        module: in eval mode; maps images (N, 3, H, W) to one or several tensors.
    """
    whole = copy.deepcopy(module)
    first = next(module.parameters())
    rng = torch.Generator().manual_seed(0)
    probe = (torch.rand(1, 3, 65, 65, generator=rng) * 255).to(first)
    merged = copy.deepcopy(module)
    for conv, name in _followers(merged, probe):
        norm = cast(Any, merged.get_submodule(name))
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        conv.weight.mul_(scale[:, None, None, None])
        bias = shift if conv.bias is None else shift + conv.bias * scale
        conv.bias = nn.Parameter(bias, requires_grad=conv.weight.requires_grad)
        parent, _, own = name.rpartition(".")
        # timm's norms end with an activation
        rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if part is not None]
        merged.get_submodule(parent).register_module(own, nn.Sequential(*rest) if rest else nn.Identity())
    pairs = zip(_outputs(whole(probe)), _outputs(merged(probe)), strict=True)
    same = all(float((one - other).abs().max()) <= TOLERANCE * float(one.abs().max()) for one, other in pairs)
    return merged if same else whole


def _followers(module: nn.Module, probe: Tensor) -> list[tuple[nn.Conv2d, str]]:
    """Convolutions with the names of the batch norms in eval mode that take their output; each is called once."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # tensors are kept, so that no other has the same address
    calls: dict[nn.Module, int] = {}
    found: list[tuple[nn.Conv2d, str, nn.Module]] = []

    def after(conv: nn.Module, _inputs: Any, output: Tensor) -> None:
        calls[conv] = calls.get(conv, 0) + 1
        made[id(output)] = (cast(nn.Conv2d, conv), output)

    hooks = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            hooks.append(part.register_forward_hook(after))
        elif _plain(part):

            def before(norm: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                calls[norm] = calls.get(norm, 0) + 1
                if id(inputs[0]) in made:
                    found.append((made[id(inputs[0])][0], name, norm))

            hooks.append(part.register_forward_pre_hook(before))
    try:
        module(probe)
    finally:
        for hook in hooks:
            hook.remove()
    return [(conv, name) for conv, name, norm in found if calls[conv] == calls[norm] == 1]


def _plain(part: nn.Module) -> bool:
    """Whether a module is a batch norm that only scales and shifts, with or without timm's activation after it."""
    return (
        isinstance(part, nn.BatchNorm2d)
        and not part.training
        and part.affine
        and part.running_mean is not None
        and (type(part) is nn.BatchNorm2d or (hasattr(part, "act") and hasattr(part, "drop")))
    )


def _outputs(made: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [made] if isinstance(made, Tensor) else made
