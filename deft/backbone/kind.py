"""What can be said of a network before it is built: its strides, its norms, and where its feature maps come from.

The network is made without memory for its weights (torch's device ``meta``), which takes a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from deft.backbone.network import Backbone, check_name, created, not_any_size
from deft.contracts import InputError

_BatchNorm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Kind:
    """Facts about a network."""

    strides: tuple[int, ...]
    """Strides among 4, 8, 16 and 32 that its last feature map can have, ascending."""
    batch_norm: bool
    """Whether batch norms are all its norms, as in ResNet, EfficientNet and RegNet."""
    changeable: bool
    """Whether a feature map can be changed in the forward pass (Manifold Mixup)."""


@cache
def kind_of(name: str) -> Kind:
    """Facts about timm's network of that name.

    Raises:
        InputError: there is none, it has no feature maps, or it does not accept images of any size.
    """
    check_name(name)
    made = {stride: _described(name, stride) for stride in (4, 8, 16, 32)}
    network = made[32]
    _try(network)
    modules = list(network.modules())
    norms = [each for each in modules if isinstance(each, _BatchNorm | nn.LayerNorm | nn.GroupNorm)]
    strides = {backbone.reductions[-1] for backbone in made.values()}
    return Kind(
        strides=tuple(sorted(strides)),
        batch_norm=bool(norms) and all(isinstance(each, _BatchNorm) for each in norms),
        changeable=_changeable(network),
    )


def _described(name: str, stride: int) -> Backbone:
    try:
        with torch.device("meta"):
            return created(name, stride, None, {})
    except InputError:
        raise
    except Exception:  # a network that computes with values while it is made needs them
        return created(name, stride, None, {})


def _try(network: Backbone) -> None:
    """Refuse a network that refuses a small image; what cannot be computed without values is found out later."""
    side = 2 * max(network.reductions)
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side, device=network.mean.device))
    except NotImplementedError:
        return
    except (RuntimeError, AssertionError, ValueError) as error:
        raise not_any_size(network.name, error) from None


def _changeable(network: Backbone) -> bool:
    try:
        network.module_of_map(0)
    except InputError:
        return False
    return True
