"""Batch norms that take mean and variance over the images of all processes, on GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def synchronised(module: nn.Module) -> Iterator[None]:
    """Within, the batch norms of a network that are in training mode share their statistics with all processes.

    ``nn.SyncBatchNorm.convert_sync_batchnorm`` puts new modules in the place of the norms and so loses the activations
    that timm's end with. Here the modules stay and change their class, which changes back at the end. Subclasses with
    a forward pass of their own, other than timm's, are left as they are.

    Args:
        module: on a GPU, if it is trained by several processes: torch cannot do this on a CPU.
    """
    norms = [part for part in module.modules() if type(part) in _PLAIN or _with_activation(part)]
    kinds = [type(part) for part in norms]
    for part in norms:
        cast(Any, part).process_group = None  # all processes
        part.__class__ = _WithActivation if _with_activation(part) else nn.SyncBatchNorm
    try:
        yield
    finally:
        for part, kind in zip(norms, kinds, strict=True):
            part.__class__ = kind
            del cast(Any, part).process_group


class _WithActivation(nn.SyncBatchNorm):
    """As timm's ``BatchNormAct2d``, which has a dropout and an activation of its own."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = cast(Any, self).act(cast(Any, self).drop(super().forward(x)))
        return y


def _with_activation(part: nn.Module) -> bool:
    return isinstance(part, nn.BatchNorm2d) and hasattr(part, "act") and hasattr(part, "drop")
