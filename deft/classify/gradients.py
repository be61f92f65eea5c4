"""Gradients of a classifier's loss with respect to its images, taken while it is trained, for augmentations.

Nothing that training depends on is touched: the network is in eval mode, so that batch norms neither use nor change the
statistics of the batch, dropout draws nothing, and weights get no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSS_SCALE = 1024.0
"""Factor of the loss, taken back from the gradient: float16 would round small ones to 0; a power of 2 is exact."""


@dataclass(frozen=True)
class ImageGradients:
    """A :class:`deft.contracts.Gradients`."""

    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    std: Tensor
    """(3, 1, 1)."""

    def __call__(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of images and the gradient of their loss."""
        return self.function(x, labels)


def image_gradients(
    network: nn.Module, score: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, parts: int
) -> tuple[Tensor, Tensor]:
    """Scores of images and the gradients of their loss; see :class:`deft.contracts.Gradients`.

    Args:
        network: what is put into eval mode meanwhile.
        score: class scores before the sigmoid, (n, K), of normalised images (n, 3, H, W), by that network.
        images: (N, 3, H, W).
        labels: targets in [0, 1], (N, K).
        parts: number of parts in which images are worked on, one after the other.
    """
    scores, gradients = [], []
    with evaluating(network), torch.enable_grad():
        for part, targets in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            leaf = part.detach().float().requires_grad_(True)
            found = score(leaf).float()
            loss = F.binary_cross_entropy_with_logits(found, targets.float(), reduction="sum")
            (gradient,) = torch.autograd.grad(LOSS_SCALE * loss, leaf)
            scores.append(found.detach())
            gradients.append(gradient / LOSS_SCALE)
    return torch.cat(scores), torch.cat(gradients)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Within, a network is in eval mode; afterwards each of its modules is in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
