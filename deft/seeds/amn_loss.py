"""The balanced, smoothed loss of AMN (Lee, Kim and Shim, 2022, arXiv:2204.01372).

Plain cross entropy makes the network overconfident on the few labelled pixels, and then no single threshold fits all
objects. Smoothed targets prevent this, and background and objects have equal weight regardless of their numbers of
pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deft.contracts import BACKGROUND, IGNORE
from deft.engine.ranks import mean_over_ranks, world


def smoothed_cross_entropy(logits: Tensor, mask: Tensor, smoothing: float) -> Tensor:
    """Cross entropy of every cell with a target of ``1 - smoothing`` on its class, the rest spread over the others.

    Args:
        logits: (N, K + 1, h, w), background first.
        mask: int64 (N, h, w), 0 to K, or 255.
        smoothing: share of the target that is spread over the other classes, in [0, 1).

    Returns:
        (N, h, w), 0 where the mask is 255.
    """
    sure = mask != IGNORE
    logarithms = logits.log_softmax(dim=1)
    own = logarithms.gather(1, torch.where(sure, mask, BACKGROUND)[:, None])[:, 0]
    others = (logarithms.sum(dim=1) - own) / (logits.shape[1] - 1)
    return torch.where(sure, -(1 - smoothing) * own - smoothing * others, 0.0)


def balanced_losses(logits: Tensor, mask: Tensor, smoothing: float) -> dict[str, Tensor]:
    """Half the mean over labelled background cells and half the mean over labelled object cells, to be summed.

    A term without cells in the batch is 0. With several processes, each divides by their mean count, so that the mean
    of their losses is that of the global batch.

    Args:
        logits: (N, K + 1, h, w), background first.
        mask: int64 (N, h, w), 0 to K, or 255, which is ignored.
        smoothing: share of the target that is spread over the other classes, in [0, 1).
    """
    losses = smoothed_cross_entropy(logits, mask, smoothing)
    kinds = torch.stack([mask == BACKGROUND, (mask != BACKGROUND) & (mask != IGNORE)]).flatten(1).to(losses.dtype)
    counts = mean_over_ranks(kinds.sum(dim=1)).clamp(min=1 / world())
    background, objects = (kinds * losses.flatten()).sum(dim=1) / counts / 2
    return {"background": background, "objects": objects}
