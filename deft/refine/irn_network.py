"""The network of IRN: boundaries, and displacements to object centres (Ahn et al., 2019, arXiv:1904.05044).

Two branches of 1x1 convolutions on a frozen backbone. Their input is its last five feature maps, or as many as there
are; with ResNet-50 at stride 16 this is the network of the authors' code. It differs in processing each image at its
own size, where the authors' code pads all images to one size.

Grid: all outputs are on the grid of seed maps (:mod:`deft.seedmaps`). Cell i is centred on its pixel whatever the
padding of the backbone, because images are padded to sides of k * stride + 1 and training crops have such sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.engine.optimise import ParamGroup
from deft.engine.parts import in_parts, large_in_parts
from deft.refine.irn_loss import irn_losses
from deft.seedmaps import STRIDE, grid

EDGE_WIDTH = 32
WIDTHS = (64, 128, 256, 256, 256)
"""Channels of the displacement branch for the last five maps, shallow to deep."""
DEEP = 3
"""Number of the deepest maps that are fused first, on the grid of the finest of them."""


class IrnNetwork(nn.Module):
    """Boundary and displacement branches; a :class:`deft.engine.plan.Trainee` with a frozen backbone.

    Args:
        backbone: maps images, uint8 or float 0..255 (N, 3, H, W), to a list of feature maps, shallow to deep; its
            attributes ``channels`` and ``reductions`` (pixels per cell) have one entry per map. Its parameters are
            frozen.
        radius: maximum distance of the pairs of cells used in training, in cells of the grid (exclusive).
        edge_lr: factor on the base learning rate for the boundary branch.
        displacement_lr: factor on the base learning rate for the displacement branch.

    Attributes:
        mean_shift: buffer (2,): mean displacement over the training images, measured by :meth:`calibrate`.
    """

    parts: int = 1
    """Number of parts in which a batch is computed, see :mod:`deft.engine.parts`."""
    mean_shift: Tensor

    def __init__(
        self, backbone: nn.Module, *, radius: int = 10, edge_lr: float = 1.0, displacement_lr: float = 10.0
    ) -> None:
        super().__init__()
        channels, reductions = _last_maps(backbone)
        self.backbone = backbone.requires_grad_(False).eval()
        self.edge = EdgeBranch(channels, reductions)
        self.displacement = DisplacementBranch(channels, reductions)
        self.radius, self.edge_lr, self.displacement_lr = radius, edge_lr, displacement_lr
        self.register_buffer("mean_shift", torch.zeros(2))

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``, except that the backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boundary logits (N, h, w) and raw displacements (N, 2, h, w), down then right, in cells.

        Args:
            images: uint8 or float 0..255, (N, 3, H, W).
        """
        height, width = grid((images.shape[-2], images.shape[-1]))
        whole = self._centred(images)
        with torch.no_grad():
            maps = cast(Sequence[Tensor], self.backbone(whole))[-len(WIDTHS) :]
        size = (whole.shape[-2], whole.shape[-1])
        edge: Tensor = self.edge(maps, size)
        displacement: Tensor = self.displacement(maps, size)
        return edge[:, :height, :width].float(), displacement[..., :height, :width].float()

    def _centred(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) padded at the right and below, by replication, to sides of k * stride + 1.

        At such sizes cell i of a map is centred on pixel i * stride, whether the backbone pads like torch or like
        TensorFlow; at other sizes the latter is up to one cell off.
        """
        stride = max(cast(Any, self.backbone).reductions)
        right, below = ((1 - side) % stride for side in (images.shape[-1], images.shape[-2]))
        if not right and not below:
            return images
        return F.pad(images.float(), (0, right, 0, below), mode="replicate")

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Weighted loss terms of ``image`` uint8 (N, 3, H, W) and ``mask`` int64 (N, H, W), 255 unlabelled."""
        logits, displacement = in_parts(self, batch["image"], self.parts)
        return irn_losses(logits.sigmoid(), displacement, batch["mask"][:, ::STRIDE, ::STRIDE], self.radius)

    def groups(self) -> list[ParamGroup]:
        """Parameters of the two branches; the backbone is not trained."""
        return [
            ParamGroup(list(self.edge.parameters()), self.edge_lr),
            ParamGroup(list(self.displacement.parameters()), self.displacement_lr),
        ]

    @torch.no_grad()
    def calibrate(self, images: Iterable[Tensor]) -> None:
        """Measure the mean displacement over images (3, H, W) of any sizes, which is subtracted at inference."""
        means = [self(image[None])[1].mean(dim=(0, 2, 3)) for image in images]
        if means:
            self.mean_shift.copy_(torch.stack(means).mean(dim=0))

    @torch.no_grad()
    def edge_and_displacement(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boundaries and displacements, with horizontal flipping as test-time augmentation of the boundaries.

        Args:
            images: uint8 or float 0..255, (N, 3, H, W), any size.

        Returns:
            Boundary strength in [0, 1], (N, h, w), from logits averaged over both views; displacement (N, 2, h, w) of
            the original view minus ``mean_shift``, in cells.
        """
        height, width = grid((images.shape[-2], images.shape[-1]))
        whole = self._centred(images)  # so that the cells of the flipped view coincide with those of the original
        logits, displacement = large_in_parts(self, torch.cat([whole, whole.flip(-1)]))
        original, flipped = logits.chunk(2)
        edge = ((original + flipped.flip(-1)) / 2).sigmoid()
        displacement = displacement[: len(images)] - self.mean_shift.view(2, 1, 1)
        return edge[:, :height, :width], displacement[..., :height, :width]


class EdgeBranch(nn.Module):
    """Reduces each map to 32 channels, fuses them on the stride-4 grid, and predicts one logit per cell."""

    def __init__(self, channels: Sequence[int], reductions: Sequence[int]) -> None:
        super().__init__()
        self.reductions = tuple(reductions)
        self.reduce = nn.ModuleList(_layer(count, EDGE_WIDTH, 4) for count in channels)
        self.join = nn.Conv2d(EDGE_WIDTH * len(channels), 1, 1)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits (N, h, w) from feature maps (N, C, ., .) of images of a size (H, W)."""
        reduced = [
            F.relu(_regrid(layer(_fine(one, reduction)), max(reduction, STRIDE), STRIDE, size))
            for layer, one, reduction in zip(self.reduce, maps, self.reductions, strict=True)
        ]
        logits: Tensor = self.join(torch.cat(reduced, dim=1))[:, 0]
        return logits


class DisplacementBranch(nn.Module):
    """Fuses the deep maps first, then all of them, and predicts two numbers per cell."""

    def __init__(self, channels: Sequence[int], reductions: Sequence[int]) -> None:
        super().__init__()
        self.reductions = tuple(max(reduction, STRIDE) for reduction in reductions)
        self.given = tuple(reductions)
        widths = WIDTHS[len(WIDTHS) - len(channels) :]
        self.reduce = nn.ModuleList(
            _layer(count, width, 8 if width < 128 else 16) for count, width in zip(channels, widths, strict=True)
        )
        self.shallow = max(0, len(channels) - DEEP)
        self.meeting = min(self.reductions[self.shallow :])
        self.deep = _layer(sum(widths[self.shallow :]), 256, 16)
        self.join = nn.Sequential(_layer(sum(widths[: self.shallow]) + 256, 256, 16), nn.ReLU())
        self.out = nn.Conv2d(256, 2, 1, bias=False)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Displacements (N, 2, h, w) from feature maps (N, C, ., .) of images of a size (H, W)."""
        reduced = [
            layer(_fine(one, reduction)) for layer, one, reduction in zip(self.reduce, maps, self.given, strict=True)
        ]
        placed = [
            F.relu(_regrid(one, reduction, STRIDE if index < self.shallow else self.meeting, size))
            for index, (one, reduction) in enumerate(zip(reduced, self.reductions, strict=True))
        ]
        deep = F.relu(_regrid(self.deep(torch.cat(placed[self.shallow :], dim=1)), self.meeting, STRIDE, size))
        displacement: Tensor = self.out(self.join(torch.cat([*placed[: self.shallow], deep], dim=1)))
        return displacement


def _last_maps(backbone: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and reductions of the feature maps that the branches use."""
    described = cast(Any, backbone)
    return tuple(described.channels)[-len(WIDTHS) :], tuple(described.reductions)[-len(WIDTHS) :]


def _layer(channels: int, width: int, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.GroupNorm(groups, width))


def _fine(features: Tensor, reduction: int) -> Tensor:
    """Features of stride 4 or more unchanged, finer ones max-pooled to stride 4 as in a ResNet's stem."""
    while reduction < STRIDE:
        features = F.max_pool2d(features, 3, stride=2, padding=1)
        reduction *= 2
    return features


def _regrid(features: Tensor, reduction: int, wanted: int, size: tuple[int, int]) -> Tensor:
    """Features (N, C, ., .) of stride ``reduction``, resized bilinearly to stride ``wanted`` for an image (H, W)."""
    if reduction != wanted:
        features = F.interpolate(features, scale_factor=reduction / wanted, mode="bilinear", align_corners=False)
    height, width = grid(size, wanted)
    features = features[..., :height, :width]
    if features.shape[-2:] != (height, width):  # a backbone whose maps are smaller than its reduction implies
        features = F.interpolate(features, size=(height, width), mode="bilinear", align_corners=False)
    return features
