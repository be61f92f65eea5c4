"""A batch in parts: less memory, the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Maps = TypeVar("Maps", Tensor, Sequence[Tensor])


def in_parts(function: Callable[..., Maps], images: Tensor, parts: int, *others: Tensor) -> Maps:
    """What ``function`` makes of a batch, computed part by part.

    Nothing of a part but its result is kept: on the way back each part is computed once more. The loss is then that
    of the whole batch, and memory is that of one part; the price is a second way there. Dropout is the same on both
    ways. Batch norms that are in training mode see parts instead of the batch, and see each of them twice.

    Args:
        function: of images (n, ...), and of as many rows of ``others``, to a tensor, or a sequence of tensors, of n
            rows; each row of its own image.
        images: (N, ...).
        parts: how many, at least 1; no more than N are made.
        others: what else each image has, (N, ...) each.
    """
    if parts == 1 or len(images) == 1:
        return function(images, *others)
    made: list[Any] = [
        checkpoint(function, *part, use_reentrant=False) if torch.is_grad_enabled() else function(*part)
        for part in zip(*(whole.chunk(parts) for whole in (images, *others)), strict=True)
    ]
    joined = torch.cat(made) if isinstance(made[0], Tensor) else [torch.cat(maps) for maps in zip(*made, strict=True)]
    return cast(Maps, joined)
