"""Batch norms in training mode, whose statistics are those of the images that they see together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def trains_statistics(module: nn.Module) -> bool:
    """Whether a batch norm among the modules is in training mode: its results depend on how a batch is divided."""
    return any(isinstance(part, _BatchNorm) and part.training for part in module.modules())


@contextmanager
def synchronised(module: nn.Module) -> Iterator[None]:
    """Within, batch norms in training mode compute their statistics over all processes.

    ``nn.SyncBatchNorm.convert_sync_batchnorm`` replaces the modules, and so loses the activations with which timm's
    batch norms end. Here the modules stay and their class is changed, until the end of the block. Subclasses with a
    forward pass of their own, other than timm's, are not changed.

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
    """timm's ``BatchNormAct2d``, which ends with a dropout and an activation."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = cast(Any, self).act(cast(Any, self).drop(super().forward(x)))
        return y


def _with_activation(part: nn.Module) -> bool:
    return isinstance(part, nn.BatchNorm2d) and hasattr(part, "act") and hasattr(part, "drop")
