"""A light decoder for features that are not trained: two 1x1 convolutions on the deepest map.

The decoder of DeepLabV3+ (:mod:`deft.segment.deeplab`) has a million weights that begin at random, and takes minutes
until it is better than background everywhere. Frozen features are standardised and say most of what a cell shows: a
layer of hidden channels and one of classes learn from them in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class LightDecoder(nn.Module):
    """Maps (N, ``channels``, h, w) of the deepest of the backbone's maps, (N, ``deep``, h, w)."""

    def __init__(self, deep: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(deep, channels, 1)
        self.dropout = dropout

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Hidden channels, non-negative; each cell of its own."""
        hidden = self.hidden(features[-1]).relu()
        return F.dropout2d(hidden, self.dropout, self.training)
