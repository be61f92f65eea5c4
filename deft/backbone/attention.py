"""The last self-attention of a network, heard while it works, if it is attention among all cells of an image.

Many networks attend within windows, to pooled cells, or with a bias for relative positions. None of these is how alike
the cells of an image are, and at some sizes of images windows look like it. What a network does is therefore decided
once, at sizes at which they cannot (:func:`attends`), and holds for all of its images.

Shapes: N images, T tokens, d channels of a head, cells (h, w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from deft.backbone.network import Backbone


@dataclass(frozen=True)
class Attention:
    """Queries and keys of the last self-attention of a view."""

    query: Tensor
    """(N, heads, T, d), T tokens: those of the cells come last."""
    key: Tensor
    """(N, heads, T, d)."""
    scale: float
    """Factor of their products before the softmax."""
    grid: tuple[int, int]
    """Cells (h, w)."""


class Listening(TorchFunctionMode):
    """Keeps the arguments of the last scaled dot product attention of this thread within the block."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: tuple[Tensor, Tensor, float] | None = None

    def __torch_function__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        named = named or {}
        if function is F.scaled_dot_product_attention:
            query, key = arguments[0], arguments[1]
            biased = named.get("attn_mask") is not None or any(each is not None for each in arguments[3:4])
            self._heard = query, key, float(named.get("scale") or query.shape[-1] ** -0.5)
            if biased or named.get("is_causal"):
                self._heard = None
        return function(*arguments, **named)

    def attention(self, images: int, grid: tuple[int, int], before: int) -> Attention | None:
        """What was heard, if its tokens are the cells of each whole image behind ``before`` others, and nothing else.

        Args:
            images: N.
            grid: cells (h, w) of the network's last feature map.
            before: class tokens and registers.
        """
        if self._heard is None:
            return None
        query, key, scale = self._heard
        if query.shape != key.shape or query.ndim != 4:
            return None  # pooled keys, or fewer heads of them
        if query.shape[0] != images or query.shape[2] != before + grid[0] * grid[1]:
            return None  # windows, or cells that were padded
        return Attention(query, key, scale, grid)


def tokens_before(inner: Backbone) -> int:
    """Tokens of a network before those of its cells: a class token, registers; 0 of a network without any."""
    counts = [cast(int, part.num_prefix_tokens) for part in inner.modules() if hasattr(part, "num_prefix_tokens")]
    return counts[0] if counts else 0


def attends(inner: Backbone) -> bool:
    """Whether the last self-attention of a network is that of all cells of an image, of any size.

    It looks at two strips, one lying and one standing, that are longer than the images of the pretraining and so than
    every window, and at two images at once, so that windows are more than there are images.
    """
    unit, extra = inner.reductions[-1], inner.extra
    config: Any = cast(Any, inner.net).pretrained_cfg
    short, long = 2 * unit + extra, (max(224, *config["input_size"][1:]) // unit + 1) * unit + extra
    training, where = inner.training, inner.mean
    inner.eval()
    found = True
    for size in ((short, long), (long, short)):
        with torch.no_grad(), Listening() as heard:
            last = inner.features(torch.zeros(2, 3, *size, device=where.device, dtype=where.dtype))[-1]
        found = found and heard.attention(2, (last.shape[-2], last.shape[-1]), tokens_before(inner)) is not None
        if not found:
            break
    inner.train(training)
    return found
