"""The segmentation network: DeepLabV3+ (Chen et al., 2018, arXiv:1802.02611) trained on pseudo-masks.

The decoder is that of segmentation_models_pytorch (Iakubovskii, 2019), which only this module imports, on our own
backbone. Two things differ: its parts are resized to each other instead of by a factor of 4, so that any backbone works
(a transformer has no map of stride 4); and the global pooling branch uses group norm, because batch statistics of one
pooled cell per image are noisy for a few images, and undefined for one.

Shapes: images (N, 3, H, W), logits (N, K + 1, H, W), background first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.artifacts import load_tensors, save_tensors, told_damaged
from deft.backbone import Backbone, from_spec, frozen_net, views_of
from deft.contracts import BACKGROUND, IGNORE, InputError
from deft.engine.layout import channels_last
from deft.engine.optimise import AdamW, ParamGroup
from deft.engine.parts import in_parts
from deft.engine.plan import Plan
from deft.engine.ranks import mean_over_ranks, world
from deft.ranges import Multiple, MultipleRange, PartialShare, Range, Share, Weight, check_ranges
from deft.segment.light import LightDecoder
from deft.settings import later

KIND = "deft segmentation network"
FORMAT = 1
"""Increased when the content of a network's file changes meaning."""
_GROUP = 8
"""Channels per group of the group norm in the global pooling branch."""


@dataclass(frozen=True)
class DeepLab:
    """Settings of the segmentation network and its training.

    Sizes are multiples of the *side*, the typical long side of the training images in pixels, so that the same
    settings suit small and large photographs.
    """

    plan: Plan = field(
        default_factory=lambda: Plan(epochs=12, min_steps=400, batch=8, optimiser=AdamW(lr=2e-4), clip=5.0)
    )
    """AdamW instead of the paper's SGD: it was better in short trials of a few hundred steps, one seed each."""
    stride: Annotated[int, Range(1, 64)] = 16
    """Pixels per cell of the backbone's last map."""
    from_classifier: bool = False
    """Start from the trained classifier's backbone instead of the weights the classifier started from."""
    freeze_stride: Annotated[int, Range(0, 64)] = 4
    """Pretrained layers up to this stride are frozen, which saves a third of a step's time; 0 trains all.

    The statistics of the backbone's batch norms are frozen at every stride: those of a small batch are too noisy.
    """
    crop: Multiple = 0.7
    """Side of the training crop."""
    long_side: MultipleRange = (0.75, 1.5)
    """Range of the resized image's long side.

    Narrower than DeepLab's (0.5, 2), which is meant for tens of thousands of steps.
    """
    jitter: Share = 0.0
    """Colour jitter strength."""
    channels: Annotated[int, Range(8, 65_536)] = 128
    """Channels of the decoder, a multiple of 8."""
    dropout: PartialShare = 0.1
    """Share of the decoder's coarse features dropped while training."""
    head_rate: Weight = 10.0
    """Learning rate of the decoder as a multiple of the backbone's."""
    balanced: bool = field(default=False, metadata=later())
    """Let the background count as much in the loss as a class does on average, instead of as many pixels as it has. A
    network that is sure of an object, but not of its class, divides the probability among the classes, and background
    wins. That matters where the backbone is frozen, and classes are told apart less well; it lowers trained networks,
    see ``benchmarks/variants.md``."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)
        if self.channels % _GROUP:
            raise InputError(f"segment.channels must be a multiple of {_GROUP}, got {self.channels}")

    def pixels(self, side: int) -> tuple[int, tuple[int, int]]:
        """The training crop, a multiple of 32, and the range of long sides, in pixels, for a typical long side."""
        crop = max(64, 32 * round(self.crop * side / 32))
        return crop, (max(1, round(self.long_side[0] * side)), max(1, round(self.long_side[1] * side)))


class SegmentationNetwork(nn.Module):
    """Backbone, decoder and head; a :class:`deft.engine.plan.Trainee`.

    Args:
        backbone: fine-tuned; if it is pretrained, early stages and batch statistics are frozen.
        classes: K, without background.
        settings: settings of decoder and training.
        side: typical long side of the training images, in pixels; inference resizes to it.
        background: weight of a background pixel in the loss; that of an object's pixel is 1.
    """

    parts: int = 1
    """Number of parts in which a batch is computed, see :mod:`deft.engine.parts`; decoder batch norms see one part."""

    def __init__(
        self, backbone: Backbone, classes: int, settings: DeepLab, side: int = 512, background: float = 1
    ) -> None:
        super().__init__()
        self.background = background
        self.classes, self.settings, self.side = classes, settings, side
        self.backbone = backbone
        frozen = views_of(backbone) is not None
        self._fine = max(backbone.stage_of_stride(4), 0)
        self.decoder = self._decoder()
        self.head = nn.Conv2d(settings.channels, classes + 1, 1)
        for module in self.decoder.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(cast(Tensor, self.head.bias))
        if backbone.pretrained and not frozen:
            backbone.freeze(until=backbone.stage_of_stride(settings.freeze_stride), batch_norm=True)

    def _decoder(self) -> Any:
        """The decoder of DeepLabV3+, or a light one on features that are not trained."""
        backbone, settings = self.backbone, self.settings
        if views_of(backbone) is not None:
            return LightDecoder(backbone.channels[-1], settings.channels, settings.dropout)
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

        stride = backbone.reductions[-1]
        fine, coarse = backbone.channels[self._fine], backbone.channels[-1]
        decoder = DeepLabV3PlusDecoder(
            encoder_channels=(3, fine, fine, coarse),
            encoder_depth=3,
            out_channels=settings.channels,
            atrous_rates=[max(1, rate * 16 // stride) for rate in (6, 12, 18)],  # the paper's, for stride 16
            output_stride=16,
            aspp_separable=True,
            aspp_dropout=settings.dropout,
        )
        decoder.aspp[0].convs[-1][2] = nn.GroupNorm(settings.channels // _GROUP, settings.channels)
        return decoder

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K + 1, H, W) of images, uint8 or float in 0..255, (N, 3, H, W), of any size."""
        height, width = images.shape[-2:]
        padded = self._pad(images)
        logits = F.interpolate(self.coarse(padded), size=padded.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    @property
    def grid_stride(self) -> int:
        """Pixels per cell of :meth:`coarse`."""
        return self.backbone.reductions[self._fine]

    def coarse(self, images: Tensor, mean: Tensor | None = None) -> Tensor:
        """Logits (N, K + 1, h, w) on the decoder's own grid, of stride 4 if the backbone has a map that fine.

        The sides of the images should be multiples of the backbone's stride, at least twice the stride: the grid then
        covers the image exactly.

        Args:
            images: (N, 3, H, W).
            mean: features (N, C, 1, 1) for the global pooling branch, where the images are parts of larger ones; None
                takes their own mean.
        """
        return self.decode(self.backbone(images), mean)

    def decode(self, features: Sequence[Tensor], mean: Tensor | None = None) -> Tensor:
        """:meth:`coarse` from the backbone's maps, (N, C, h, w) each, shallow to deep."""
        if isinstance(self.decoder, LightDecoder):
            light: Tensor = self.head(self.decoder(features))
            return light
        fine = self.decoder.block1(features[self._fine])
        context = self.decoder.aspp(features[-1]) if mean is None else self._aspp(features[-1], mean)
        context = F.interpolate(context, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.head(self.decoder.block2(torch.cat([context, fine], dim=1)))
        return logits

    def _aspp(self, features: Tensor, mean: Tensor) -> Tensor:
        """Atrous spatial pyramid pooling with a given mean instead of that of the features."""
        aspp, *behind = self.decoder.aspp
        *local, pooling = aspp.convs
        for module in list(pooling)[1:]:  # the first one takes the mean
            mean = module(mean)
        branches = [*(conv(features) for conv in local), mean.expand(-1, -1, *features.shape[-2:])]
        maps: Tensor = aspp.project(torch.cat(branches, dim=1))
        for module in behind:
            maps = module(maps)
        return maps

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Cross entropy averaged over the pixels that are not 255, background weighted; 0 if there are none.

        With several processes, each divides by their mean weight of pixels, so that the mean of their losses is that of
        the global batch. ``batch`` has ``image`` uint8 (N, 3, h, w), or ``deep`` (N, C, ., .), the stored map of a
        frozen backbone (:class:`deft.engine.features.MaskedFeatures`), and ``mask`` int64 (N, h, w).
        """
        mask = batch["mask"]
        if "deep" in batch:
            known = self.decode([frozen_net(self.backbone).standardised(batch["deep"].float())])
            # On the decoder's own grid: enlarging the logits would take longer than all the rest of a step.
            mask = mask[:, self.grid_stride // 2 :: self.grid_stride, self.grid_stride // 2 :: self.grid_stride]
            total = self._cost(known, mask).sum()
        else:
            total = in_parts(self._cost_of_images, batch["image"], self.parts, mask).sum()
        count = (mask != IGNORE).sum() - (1 - self.background) * (mask == BACKGROUND).sum()
        return {"segmentation": total / mean_over_ranks(count).clamp(min=1 / world())}

    def _cost_of_images(self, images: Tensor, mask: Tensor) -> Tensor:
        """:meth:`_cost` of the logits of images (N, 3, H, W)."""
        return self._cost(self(images), mask)

    def _cost(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Weighted cross entropy of each image, summed over its pixels, (N,)."""
        weights = logits.new_ones(logits.shape[1], dtype=torch.float32)
        weights[BACKGROUND] = self.background
        pixels = F.cross_entropy(logits.float(), mask, weights, ignore_index=IGNORE, reduction="none")
        return pixels.flatten(1).sum(dim=1)

    def groups(self) -> list[ParamGroup]:
        """The backbone at the base rate, decoder and head at :attr:`DeepLab.head_rate` times that."""
        new = [*self.decoder.parameters(), *self.head.parameters()]
        return [ParamGroup(list(self.backbone.parameters())), ParamGroup(new, self.settings.head_rate)]

    def _pad(self, images: Tensor) -> Tensor:
        """Pad below and to the right with the mean colour, to multiples of the stride, at least twice the stride."""
        stride = self.backbone.reductions[-1]
        height, width = images.shape[-2:]
        down, right = (max(2 * stride, -(-side // stride) * stride) - side for side in (height, width))
        if not down and not right:
            return images
        fill = torch.tensor(self.backbone.fill, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
        padded = fill.repeat(len(images), 1, height + down, width + right)
        padded[..., :height, :width] = images
        return padded


def balancing_weight(pixels: Sequence[float]) -> float:
    """Weight of a background pixel with which all of them count as much as the pixels of a class on average, at most 1.

    Args:
        pixels: number or share of those of the background, and of each class; classes without any do not count.
    """
    background, *classes = pixels
    shown = [count for count in classes if count]
    return min(1.0, sum(shown) / len(shown) / background) if shown and background else 1.0


def save_network(path: Path, network: SegmentationNetwork, classes: tuple[str, ...], made_by: str = "") -> None:
    """Write weights, with a header from which :func:`load_network` rebuilds the network."""
    header = {
        "kind": KIND,
        "format": FORMAT,
        "classes": list(classes),
        "backbone": network.backbone.spec(),
        "channels": network.settings.channels,
        "side": network.side,
        "made_by": made_by,
    }
    save_tensors(path, network.state_dict(), header)


def load_network(path: Path) -> tuple[SegmentationNetwork, tuple[str, ...]]:
    """Load a trained network, in eval mode, and the names of its K classes; needs only the file.

    Raises:
        InputError: the file is missing, broken, or not a segmentation network of this package.
    """
    tensors, header = load_tensors(path)
    if header.get("kind") != KIND:
        raise InputError(
            f"{path} is not a segmentation network of deft: expected {KIND!r} in its header, got "
            f"{header.get('kind')!r}; give segment/model.safetensors of a run folder"
        )
    if header.get("format") != FORMAT:
        raise InputError(f"{path}: expected format {FORMAT}, got {header.get('format')!r}; update deft, or train again")
    with told_damaged(path):
        classes = tuple(str(name) for name in header["classes"])
        settings = DeepLab(channels=int(header["channels"]))
        if tensors["head.weight"].shape[:2] != (len(classes) + 1, settings.channels):  # else it would be built in vain
            raise ValueError(f"its weights are not those of {len(classes)} classes and {settings.channels} channels")
        network = SegmentationNetwork(from_spec(header["backbone"]), len(classes), settings, int(header["side"]))
        network.load_state_dict(tensors)
    return channels_last(network).eval(), classes
