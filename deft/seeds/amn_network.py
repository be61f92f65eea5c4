"""The network of AMN: a pixel classifier conditioned on the image's tags (Lee et al., 2022, arXiv:2204.01372).

The tags weight the channels of the last feature map, so that classes absent from the image need not be distinguished,
and the sum of four dilated convolutions scores each cell. Differs from the authors' code in that dropout is off at
inference; there it stays on by mistake, and repeated inference on an image gives different maps. As there, batch norms
keep their statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deft.backbone import Backbone
from deft.engine.optimise import ParamGroup
from deft.engine.parts import in_parts
from deft.engine.precision import EXACT, autocast
from deft.seeds.amn_loss import balanced_losses
from deft.seeds.views import on_grid, pixels, resize

RATES = (6, 12, 18, 24)
"""Dilations of the head at stride 16; at other strides they are scaled to the same reach in pixels."""


class AmnNetwork(nn.Module):
    """Backbone, conditioning on the tags, and head; a :class:`deft.engine.plan.Trainee`.

    Args:
        backbone: fine-tuned, with fixed batch statistics.
        classes: K, without background.
        dropout: share of the conditioned features dropped while training, in [0, 1).
        smoothing: share of each target spread over the other classes, in [0, 1).
        head_lr: learning rate of conditioning and head as a multiple of the base rate.
    """

    parts: int = 1
    """Number of parts in which a batch is computed, see :mod:`deft.engine.parts`."""

    def __init__(
        self, backbone: Backbone, classes: int, *, dropout: float = 0.1, smoothing: float = 0.4, head_lr: float = 20.0
    ) -> None:
        super().__init__()
        channels, stride = backbone.channels[-1], backbone.reductions[-1]
        self.backbone = backbone
        self.condition = nn.Linear(classes, channels)
        self.dropout = nn.Dropout(dropout)
        reaches = [max(1, rate * 16 // stride) for rate in RATES]
        self.head = nn.ModuleList(
            nn.Conv2d(channels, classes + 1, 3, padding=reach, dilation=reach) for reach in reaches
        )
        for convolution in self.head:
            nn.init.normal_(cast(Tensor, convolution.weight), std=0.01)
            nn.init.zeros_(cast(Tensor, convolution.bias))
        self.smoothing, self.head_lr = smoothing, head_lr
        backbone.freeze(until=-1, batch_norm=True)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, K + 1, h, w) in float32, background first, on the grid of the last feature map.

        Args:
            images: uint8 or float 0..255, (N, 3, H, W).
            labels: float multi-hot, (N, K).
        """
        features = self.backbone(images)[-1]
        weighed = self.dropout(features * self.condition(labels)[:, :, None, None])
        return torch.stack([convolution(weighed).float() for convolution in self.head]).sum(dim=0)

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Loss terms of ``image`` uint8 (N, 3, H, W), ``labels`` float (N, K), ``mask`` int64 (N, H, W), 255 ignored.

        The target of cell i is the pixel i * stride, on which the cell is centred in crops of k * stride + 1 pixels.
        """
        logits = in_parts(self, batch["image"], self.parts, batch["labels"]).float()
        stride = self.backbone.reductions[-1]
        return balanced_losses(logits, batch["mask"][:, ::stride, ::stride], self.smoothing)

    def groups(self) -> list[ParamGroup]:
        """The backbone at the base rate, the new layers at ``head_lr`` times that."""
        new = [*self.condition.parameters(), *self.head.parameters()]
        return [ParamGroup(list(self.backbone.parameters())), ParamGroup(new, self.head_lr)]

    @torch.no_grad()
    def probability(
        self,
        image: NDArray[np.uint8],
        labels: NDArray[np.bool_],
        scales: Sequence[float],
        mirror: bool,
        precision: str = EXACT,
    ) -> Tensor:
        """Probability of background and classes, from logits averaged over views of one image; call it in eval mode.

        Args:
            image: RGB, (H, W, 3), any size.
            labels: multi-hot, (K,).
            scales: factors by which the image is resized.
            mirror: whether to average with the mirror image.
            precision: numerical precision of the network; logits are averaged in float32.

        Returns:
            (K + 1, h, w) in [0, 1] on the stride-4 grid, which sums to 1 at each cell.
        """
        device = self.condition.weight.device
        whole = pixels(image, device)
        tags = torch.from_numpy(labels.astype(np.float32)).to(device)[None]
        views = []
        for scale in scales:
            view = resize(whole, scale, self.backbone.reductions[-1], self.backbone.extra)
            batch = torch.cat([view, view.flip(-1)]) if mirror else view
            batch = batch.contiguous(memory_format=torch.channels_last)
            with autocast(precision, device):
                logits = self(batch, tags.expand(len(batch), -1)).float()
            if mirror:
                logits = (logits[:1] + logits[1:].flip(-1)) / 2
            seen, size = (view.shape[-2], view.shape[-1]), (image.shape[0], image.shape[1])
            views.append(on_grid(logits[0], seen, size, self.backbone.extra))
        return torch.stack(views).mean(dim=0).softmax(dim=0)
