"""What can be said of a network before it is built: its strides, its norms, and where its feature maps come from.

The network is made without memory for its weights (torch's device ``meta``), which takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from deft.backbone.network import Backbone, build_network, check_name, created, probe_sizes, try_size
from deft.contracts import InputError

_BatchNorm = nn.modules.batchnorm._BatchNorm
_LOOKUPS = (F.embedding, torch.gather, Tensor.gather, torch.index_select, Tensor.index_select, torch.take)


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
    """Refuse a network that refuses an image of some size.

    What depends on values is not seen without memory for them: a network that looks something up, such as a row of a
    table of relative positions, is made and tried with them, as is one that fails without them.
    """
    network.eval()
    if network.mean.device.type == "meta":
        with _Lookups() as lookups:
            try:
                for size in probe_sizes(network):
                    try_size(network, size)
                if not lookups.found:
                    return
            except InputError:  # perhaps only for lack of values
                pass
        build_network(network.name, network.stride, None, own_stride=True)
    else:
        for size in probe_sizes(network):
            try_size(network, size)


class _Lookups(TorchFunctionMode):
    """Hears whether anything is looked up by computed numbers within the block."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        if function is Tensor.__getitem__:
            places = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
            self.found |= any(isinstance(place, Tensor) for place in places)
        self.found |= function in _LOOKUPS
        return function(*arguments, **(named or {}))


def _changeable(network: Backbone) -> bool:
    try:
        network.module_of_map(0)
    except InputError:
        return False
    return True
