"""SEAM: class maps that stay the same when the image is resized (Wang et al., CVPR 2020, arXiv:2004.04581).

The class maps of an image and of a small copy of it should agree, but a classifier's do not. Each training step looks
at both and penalises their difference. A pixel correlation module refines the maps by the affinities of cells, from
early features and colours, and learns from the maps of the other view, so that it cannot copy its own input.

Differs from the published code: any backbone, whose last two maps before the last take the place of conv4 and conv5 of
a wide ResNet-38; class maps of absent tags have no part in the background map, and do not suppress those of tags; maps
are normalised on the grid of the cells and resized once, to the small view.
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
from deft.classify.pixel_correlation import correlated
from deft.engine.head import Head, HeadModule, Look, checked, normalise
from deft.ranges import Range, Share, Weight, check_ranges


@dataclass(frozen=True)
class SeamHead:
    """Settings of SEAM's head."""

    base: Head = field(default_factory=lambda: LinearHead(dropout=0.5))
    """The head whose class maps are compared; its own loss is kept, as the mean over both views."""
    scale: Annotated[float, Range(0.01, 0.99)] = 0.3
    """Size of the small view, as a share of the training crop's side."""
    widths: Annotated[tuple[int, ...], Range(1, 65_536)] = (64, 128)
    """Channels to which the feature maps before the last are reduced for the affinities, shallow to deep."""
    width: Annotated[int, Range(1, 65_536)] = 192
    """Channels of the features whose cosines are the affinities."""
    consistency: Weight = 1.0
    """Weight of the mean absolute difference between the class maps of both views (ER)."""
    cross: Weight = 1.0
    """Weight of the difference between refined maps of one view and class maps of the other (ECR)."""
    hardest: Share = 0.2
    """Share of the values, the largest differences, that ECR averages in each image."""
    quiet: Weight = 1.0
    """Weight of the mean of the refined maps where they are lowest."""
    lowest: Share = 0.25
    """Share of the cells that count as lowest."""
    learning_rate: Weight = 10.0
    """Multiplier of the base rate for the module's convolutions."""

    @property
    def own_views(self) -> bool:
        """True: training looks at a small view of each image."""
        return True

    def __post_init__(self) -> None:
        """Refuse values out of range, and a base that needs all feature maps itself."""
        check_ranges(self)
        check_base(self.base)

    def build(self, channels: int, classes: int) -> SeamModule:
        """A head for one feature map, from which the affinities then come too."""
        return self.build_on((channels,), classes)

    def build_on(self, channels: Sequence[int], classes: int) -> SeamModule:
        """A head for feature maps with these numbers of channels, shallow to deep."""
        return SeamModule(self, channels, classes)


class AffinityFeatures(nn.Module):
    """Features of colours and of the maps before the last, on the grid of the last; gradients stop before them."""

    def __init__(self, channels: Sequence[int], widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.places = range(len(channels))[-1 - len(widths) : -1] or range(1)
        widths = widths[-len(self.places) :]
        pairs = zip(self.places, widths, strict=True)
        self.convs = nn.ModuleList(nn.Conv2d(channels[place], out, 1, bias=False) for place, out in pairs)
        self.join = nn.Conv2d(3 + sum(widths), width, 1, bias=False)

    def forward(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Normalised images (N, 3, H, W) and their maps (N, C_i, ., .), shallow to deep, to (N, width, h, w)."""
        size = (maps[-1].shape[-2], maps[-1].shape[-1])
        parts = [resized(images.detach().float(), size)]
        for place, conv in zip(self.places, self.convs, strict=True):
            parts.append(resized(F.relu(conv(maps[place].detach())).float(), size))
        joined: Tensor = self.join(torch.cat(parts, dim=1))
        return joined


class SeamModule(HeadModule):
    """Weights of :class:`SeamHead`."""

    all_maps = True
    with_images = True
    reads_maps = True

    def __init__(self, settings: SeamHead, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.base = checked(settings.base.build(channels[-1], classes))
        self.affinity = AffinityFeatures(channels, settings.widths, settings.width)

    def loss_of_views(
        self, maps: Sequence[Tensor], look: Look, labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """Means of the base's terms over both views, ``quiet``, ``consistency`` and ``cross``.

        Args:
            maps: normalised images (N, 3, H, W), and their feature maps (N, C_i, ., .), shallow to deep.
            look: gives the same for the small views.
            labels: float, (N, K).
            epoch: 1-based.
            rng: passed on to the base.
        """
        s = self.settings
        size = [max(1, round(s.scale * side)) for side in maps[0].shape[-2:]]
        small = look(F.interpolate(maps[0], size=size, mode="bilinear", align_corners=False))
        both = [self.base.loss(view[-1], labels, epoch, rng) for view in (maps, small)]
        terms = {name: (both[0][name] + both[1][name]) / 2 for name in both[0]}
        # On the small view's pixels, where the published code compares: its cells are few.
        cams = [self.class_maps(view[-1], labels) for view in (maps, small)]
        seen = [resized(stretched(cam), size) for cam in cams]
        if s.consistency:
            terms["consistency"] = s.consistency * (seen[0] - seen[1]).abs().mean()
        if not (s.quiet or s.cross):
            return terms
        refined = [self.refined(view, cam) for view, cam in zip((maps, small), cams, strict=True)]
        present = labels[:, :, None, None]
        if s.quiet:
            lows = [lowest(one[:, 1:] * present, s.lowest) for one in refined]
            terms["quiet"] = s.quiet * (lows[0] + lows[1]) / 2
        if s.cross:
            tags = torch.cat([torch.ones_like(present[:, :1]), present], dim=1)
            wide = [resized(stretched(one) * tags, size) for one in refined]
            sure = [strongest(planes(one.detach())) for one in seen]
            hard = [hardest((sure[1] - wide[0]).abs(), s.hardest), hardest((sure[0] - wide[1]).abs(), s.hardest)]
            terms["cross"] = s.cross * (hard[0] + hard[1])
        return terms

    def loss(self, features: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """The base's terms: the others need a second view, see :meth:`loss_of_views`."""
        return self.base.loss(features, labels, epoch, rng)

    def class_maps(self, features: Tensor, labels: Tensor) -> Tensor:
        """Class maps in [0, 1], (N, K, h, w); those of absent classes are 0.

        Args:
            features: last feature map, (N, C, h, w).
            labels: float, (N, K).
        """
        return normalise(self.base.cell_scores(features).float().relu()) * labels[:, :, None, None]

    def refined(self, maps: Sequence[Tensor], cams: Tensor) -> Tensor:
        """Maps of background and classes, averaged over cells that look alike; only the affinities get gradients.

        Args:
            maps: normalised images, and their feature maps, shallow to deep.
            cams: class maps in [0, 1], (N, K, h, w).

        Returns:
            (N, K + 1, h, w) in [0, 1], float32.
        """
        features = self.affinity(maps[0], maps[1:])
        with torch.no_grad():
            given = strongest(planes(cams))
        return correlated(given, features)

    def logits(self, features: Tensor) -> Tensor:
        """The base's scores before the sigmoid, (N, K)."""
        return self.base.logits(features)

    def cell_scores(self, features: Tensor) -> Tensor:
        """The base's score of each class in each cell, (N, K, h, w)."""
        return self.base.cell_scores(features)

    def activation(self, features: Tensor) -> Tensor:
        """The base's class maps without refinement, (N, 1, K, h, w), where only the last feature map is known."""
        return self.base.cell_scores(features).relu()[:, None]

    def activation_of_maps(self, maps: Sequence[Tensor], present: Tensor) -> Tensor:
        """Refined maps of the classes present, (N, 1, K, h, w) in [0, 1]; 0 for absent classes.

        Args:
            maps: normalised views of one image (N, 3, H, W), and their feature maps (N, C_i, ., .), shallow to deep.
            present: bool (K,).
        """
        labels = present.to(maps[-1])[None].expand(len(maps[-1]), -1)
        return self.refined(maps, self.class_maps(maps[-1], labels))[:, None, 1:]

    def combine(self, activation: Tensor) -> Tensor:
        """Each class of the summed maps (1, K, h, w), stretched from its minimum to its maximum: (K, h, w)."""
        return stretched(activation[0])

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """The base's groups, and the module's convolutions at the settings' multiple of the base learning rate."""
        return [*self.base.groups(), (list(self.affinity.parameters()), self.settings.learning_rate)]


def planes(cams: Tensor) -> Tensor:
    """Background, 1 - the largest class map, before the class maps: (N, K, h, w) in [0, 1] to (N, K + 1, h, w)."""
    return torch.cat([1 - cams.amax(dim=1, keepdim=True), cams], dim=1)


def strongest(maps: Tensor) -> Tensor:
    """Maps of background and classes (N, K + 1, h, w), of whose classes only the largest in each cell is left."""
    classes = maps[:, 1:]
    return torch.cat([maps[:, :1], classes * (classes >= classes.amax(dim=1, keepdim=True))], dim=1)


def stretched(maps: Tensor) -> Tensor:
    """Maps (..., h, w), each from 0 at its minimum to 1 at its maximum.

    Means over cells that look alike are far from 0 everywhere.
    """
    return normalise(maps - maps.amin(dim=(-2, -1), keepdim=True))


def hardest(differences: Tensor, share: float) -> Tensor:
    """Mean of the largest values, a share of all, at least one, of each image (N, ...): a scalar."""
    flat = differences.flatten(1)
    return flat.topk(max(1, int(share * flat.shape[1])), dim=1).values.mean()


def lowest(maps: Tensor, share: float) -> Tensor:
    """Mean of the largest class map in the cells where it is lowest, a share of all, at least one of each image.

    Args:
        maps: (N, K, h, w).
        share: in [0, 1].

    Returns:
        A scalar of at least 0.
    """
    largest = maps.amax(dim=1).flatten(1)
    low = largest.topk(max(1, int(share * largest.shape[1])), dim=1, largest=False).values
    return low.relu().mean()


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, C, ., .) on another grid, bilinearly; unchanged if it is theirs."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
