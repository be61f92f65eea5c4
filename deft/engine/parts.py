"""A batch computed in parts: less memory, the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

TOGETHER = 2**20
"""Pixels of views that are computed together; large views gain nothing from company, and each needs its memory."""
Maps = TypeVar("Maps", Tensor, Sequence[Tensor])


def in_parts(function: Callable[..., Maps], images: Tensor, parts: int, *others: Tensor) -> Maps:
    """Apply ``function`` to a batch part by part, with the gradients of the whole.

    Only the result of each part is kept; the backward pass computes each part again. The loss is that of the whole
    batch and memory that of one part, at the price of a second forward pass. Dropout is the same in both passes. Batch
    norms in training mode see parts instead of the batch, and each part twice.

    Args:
        function: takes images (n, ...) and as many rows of ``others``; returns a tensor, or a sequence of tensors, with
            n rows, each of which depends on its own image alone.
        images: (N, ...).
        parts: number of parts, at least 1; no more than N are made.
        others: further inputs, (N, ...) each.
    """
    if parts == 1 or len(images) == 1:
        return function(images, *others)
    made: list[Any] = [
        checkpoint(function, *part, use_reentrant=False) if torch.is_grad_enabled() else function(*part)
        for part in zip(*(whole.chunk(parts) for whole in (images, *others)), strict=True)
    ]
    joined = torch.cat(made) if isinstance(made[0], Tensor) else [torch.cat(maps) for maps in zip(*made, strict=True)]
    return cast(Maps, joined)


def large_in_parts(function: Callable[..., Maps], views: Tensor, *others: Tensor) -> Maps:
    """Apply ``function`` to views (N, 3, H, W), to at most :data:`TOGETHER` pixels of them at a time, at least to one.

    Without gradients: what is kept of each part is its result. ``others`` are as for :func:`in_parts`.
    """
    together = max(1, TOGETHER // (views.shape[-2] * views.shape[-1]))
    return in_parts(function, views, -(-len(views) // together), *others)
