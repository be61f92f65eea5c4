"""SIPE: class maps from prototypes of the image itself (Chen et al., CVPR 2022, arXiv:2203.02909).

A class looks different from image to image, while the classifier has one weight vector for all of them. Cells whose
neighbourhood in feature space agrees with the class map of a tag, or of the background, become its seed; the mean
feature of a seed is the prototype of that tag in that image; and the map of the tag is the cosine of each cell with it.
In training the class map and this map are made to agree.

Differs from the published code: cells are compared by the angle of their features around the mean of the image, see
:attr:`SipeHead.centred`; class maps of absent tags are left out of the background map and of the loss; padding is
recognised by its colour at the sides; at inference the maps of an image and its mirror image are summed, not their
features, and a tag without a seed keeps its class map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.classify.base import check_base
from deft.classify.linear import LinearHead
from deft.engine.head import Head, HeadModule, checked, normalise
from deft.ranges import Factor, Range, Weight, check_ranges

BLOCK = 2**22
"""Affinities between cells that are in memory at once (16 MB)."""
PADDING = 0.01
"""Normalised values below this are those of padding: the mean colour, rounded to 8 bits."""


@dataclass(frozen=True)
class SipeHead:
    """Settings of SIPE's head."""

    base: Head = field(default_factory=LinearHead)
    """The head whose class maps give the seeds; its own loss is kept."""
    widths: Annotated[tuple[int, ...], Range(1, 65_536)] = (128, 128, 256, 256)
    """Channels of the side features of the deepest feature maps, shallow to deep."""
    weight: Weight = 1.0
    """Weight of the mean absolute difference between class maps and prototype maps."""
    background: Factor = 0.5
    """Factor of the background's agreement, against that of the tags."""
    learning_rate: Weight = 10.0
    """Multiplier of the base rate for the side convolutions."""
    centred: bool = True
    """Subtract the mean of the image's cells from features before they are compared; False is the published code.

    Features far from 0 have cosines near 1 with each other. Every cell then resembles every prototype until the side
    features have learned better, and meanwhile class maps are made to agree with maps that show nothing.
    """

    def __post_init__(self) -> None:
        """Refuse values out of range, and a base that needs all feature maps itself."""
        check_ranges(self)
        check_base(self.base)

    def build(self, channels: int, classes: int) -> SipeModule:
        """A head for one feature map, which is then its only side feature."""
        return self.build_on((channels,), classes)

    def build_on(self, channels: Sequence[int], classes: int) -> SipeModule:
        """A head for feature maps with these numbers of channels, shallow to deep."""
        return SipeModule(self, channels, classes)


class SideFeatures(nn.Module):
    """Features of the deepest maps, each L2-normalised in every cell, on the grid of the last but one; gradients stop.

    The published code has this grid because layer3 and layer4 share it at stride 16.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], centred: bool) -> None:
        super().__init__()
        self.centred = centred
        count = min(len(channels), len(widths))
        pairs = zip(channels[-count:], widths[-count:], strict=True)
        self.convs = nn.ModuleList(nn.Conv2d(inside, width, 1, bias=False) for inside, width in pairs)

    def forward(self, maps: Sequence[Tensor], images: Tensor | None = None) -> Tensor:
        """Side features (N, sum of widths, h, w).

        Args:
            maps: feature maps, (N, C_i, ., .), shallow to deep.
            images: normalised, (N, 3, H, W), whose padding does not count towards the mean; None if there is none.
        """
        seen = maps[-len(self.convs) :]
        size = seen[max(0, len(seen) - 2)].shape[-2:]
        parts = []
        for conv, one in zip(self.convs, seen, strict=True):
            part = conv(one.detach()).float()
            if self.centred:
                valid = part.new_ones(len(part), 1, *part.shape[-2:])
                part = around_mean(part, valid if images is None else inside(images, part.shape[-2:]))
            parts.append(_resized(F.normalize(part, dim=1), size))
        return torch.cat(parts, dim=1)


class SipeModule(HeadModule):
    """Weights of :class:`SipeHead`."""

    all_maps = True
    with_images = True
    reads_maps = True

    def __init__(self, settings: SipeHead, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.base = checked(settings.base.build(channels[-1], classes))
        self.sides = SideFeatures(channels, settings.widths, settings.centred)

    def loss_of_maps(
        self, maps: Sequence[Tensor], labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """The base's terms and ``consistency``.

        Args:
            maps: normalised images (N, 3, H, W), and their feature maps (N, C_i, ., .), shallow to deep.
            labels: float, (N, K).
            epoch: 1-based.
            rng: passed on to the base.
        """
        images, features = maps[0], maps[-1]
        terms = self.base.loss(features, labels, epoch, rng)
        if self.settings.weight:
            sides = self.sides(maps[1:], images)
            size = sides.shape[-2:]
            valid = inside(images, size)
            planes = self.planes(features, labels, valid, size)
            deep = _resized(features.detach().float(), size)
            if self.settings.centred:
                deep = around_mean(deep, valid)
            seeds = seeds_of(deep * valid, planes.detach(), labels, self.settings.background)
            found = normalise(prototype_maps(sides, seeds * valid) * valid)
            terms["consistency"] = self.settings.weight * (planes - found).abs().mean()
        return terms

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The base's terms: prototypes need the images and all feature maps, see :meth:`loss_of_maps`."""
        return self.base.loss(features, labels, epoch, rng)

    def planes(self, features: Tensor, labels: Tensor, valid: Tensor, size: Sequence[int]) -> Tensor:
        """Maps in [0, 1] of background, 1 - the largest class map, and of each class, (N, K + 1, h, w).

        Args:
            features: last feature map, (N, C, ., .).
            labels: float, (N, K); maps of absent classes are 0.
            valid: 1 inside the image and 0 in its padding, (N, 1, h, w).
            size: (h, w).
        """
        scores = _resized(self.base.cell_scores(features).float().relu(), size)
        maps = normalise(scores * labels[:, :, None, None] * valid)
        return torch.cat([1 - maps.amax(dim=1, keepdim=True), maps], dim=1) * valid

    def logits(self, features: Tensor) -> Tensor:
        """The base's scores before the sigmoid, (N, K)."""
        return self.base.logits(features)

    def cell_scores(self, features: Tensor) -> Tensor:
        """The base's score of each class in each cell, (N, K, h, w)."""
        return self.base.cell_scores(features)

    def activation(self, features: Tensor) -> Tensor:
        """The base's class maps without prototypes, (N, 1, K, h, w), where only the last feature map is known."""
        return self.base.cell_scores(features).relu()[:, None]

    def activation_of_maps(self, maps: Sequence[Tensor], present: Tensor) -> Tensor:
        """Cosines with the prototypes of the classes present, (N, 1, K, h, w), non-negative; 0 for absent classes.

        A class present that no cell agrees with, and that has no prototype therefore, keeps its class map.

        Args:
            maps: normalised views of one image (N, 3, H, W), and their feature maps (N, C_i, ., .), shallow to deep.
            present: bool (K,).
        """
        sides = self.sides(maps[1:])
        labels = present.to(sides)[None].expand(len(sides), -1)
        planes = self.planes(maps[-1], labels, sides.new_ones(()), sides.shape[-2:])
        seeds = seeds_of(sides, planes, labels, self.settings.background)
        empty = (seeds == 0).flatten(2).all(dim=2)[:, :, None, None]
        return torch.where(empty, planes, prototype_maps(sides, seeds))[:, None, 1:]

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The base's groups, and the side convolutions at the settings' multiple of the base learning rate."""
        return [*self.base.groups(), (list(self.sides.parameters()), self.settings.learning_rate)]


def inside(images: Tensor, size: Sequence[int]) -> Tensor:
    """1 in cells that show some of the image, and 0 in its padding: rows and columns at its sides in the mean colour.

    Args:
        images: normalised, (N, 3, H, W).
        size: (h, w) of the cells.

    Returns:
        float (N, 1, h, w).
    """
    shown = images.abs().amax(1, keepdim=True) > PADDING
    rows = _from_first_to_last(shown.any(3, keepdim=True).float(), 2)
    columns = _from_first_to_last(shown.any(2, keepdim=True).float(), 3)
    return F.adaptive_max_pool2d(rows, (size[0], 1)) * F.adaptive_max_pool2d(columns, (1, size[1]))


def _from_first_to_last(found: Tensor, dim: int) -> Tensor:
    """Fill what lies between the first and the last 1 of a dimension with 1."""
    return found.cummax(dim).values * found.flip(dim).cummax(dim).values.flip(dim)


def around_mean(features: Tensor, valid: Tensor) -> Tensor:
    """Features (N, C, h, w) minus the mean of each image's cells in which ``valid`` (N, 1, h, w) is 1."""
    mean = (features * valid).sum((2, 3), keepdim=True) / valid.sum((2, 3), keepdim=True).clamp(min=1)
    return features - mean


@torch.no_grad()
def seeds_of(features: Tensor, planes: Tensor, labels: Tensor, background: float) -> Tensor:
    """Assign each cell to the tag, or to the background, with whose map its affinities to all cells agree best.

    The agreement of a cell with a map is an intersection over union, the sum of products of affinity and map divided by
    the sum of both minus that. Affinities are computed for some cells at a time.

    Args:
        features: (N, C, h, w); affinities are the positive part of their cosine.
        planes: maps of background and classes in [0, 1], (N, K + 1, h, w).
        labels: float, (N, K); absent classes get no cell.
        background: factor of the background's agreement.

    Returns:
        One-hot float (N, K + 1, h, w).
    """
    count, classes, height, width = planes.shape
    cells = F.normalize(features.flatten(2), dim=1)
    maps = planes.flatten(2).transpose(1, 2)  # (N, cells, K + 1)
    mass = maps.sum(dim=1, keepdim=True)
    factor = torch.cat([labels.new_full((count, 1), background), labels], dim=1)[:, None]
    chosen = []
    for part in torch.split(cells, max(1, BLOCK // (count * height * width)), dim=2):
        affinity = torch.relu(part.transpose(1, 2) @ cells)
        common = affinity @ maps
        agreement = common / (affinity.sum(dim=2, keepdim=True) + mass - common + 1e-5)
        chosen.append((agreement * factor - (factor == 0).to(agreement)).argmax(dim=2))
    onehot = F.one_hot(torch.cat(chosen, dim=1), classes).to(planes)
    return onehot.transpose(1, 2).reshape(count, classes, height, width)


def prototype_maps(features: Tensor, seeds: Tensor) -> Tensor:
    """Positive part of the cosine of each cell with the mean feature of each seed.

    Args:
        features: (N, C, h, w).
        seeds: one-hot, (N, K + 1, h, w); the map of an empty seed is 0.

    Returns:
        (N, K + 1, h, w) in [0, 1].
    """
    prototypes = F.normalize(seeds.flatten(2) @ features.flatten(2).transpose(1, 2), dim=2)
    cosine = prototypes @ F.normalize(features.flatten(2), dim=1)
    return torch.relu(cosine).reshape(seeds.shape)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, C, ., .) on another grid, bilinearly; unchanged if it is theirs."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
