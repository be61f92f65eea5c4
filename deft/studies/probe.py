"""The fixed set of images that a network is shown again and again, and what enters its last batch norm on each.

The paper (DEFT, Fig. 1) says "before the last batch norm": in a ResNet the output of conv3 of the last block, before
bn3; in a MobileNetV2 that of the last block's last convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deft.backbone import Backbone
from deft.contracts import Dataset, InputError
from deft.data.spread import spread
from deft.metrics.activation import Regions, average_activation, regions

READINGS = ("signed", "rectified")
"""Activation as it comes, and with what lies below zero set to zero."""
MAX_PAIRS = 40
"""Pairs of class and context that are followed, at most; those that are shown most often."""


@dataclass(frozen=True)
class Watching:
    """How closely a classifier is watched."""

    images: int = 150
    """Training images with masks that are looked at, at most; spread over the data."""
    points: int = 30
    """How often, from before the first step to after the last."""
    pair: int = 3
    """Images that must show a class and a context together for the pair to be followed."""


@dataclass(frozen=True)
class Group:
    """Whose objects are averaged, and over which ground."""

    target: int | None = None
    """Class index; None for any object."""
    ground: int | None = None
    """Context index: images of the pair only, and where context masks are known ABA is over the context's pixels."""

    def name(self, data: Dataset) -> str:
        """As the tables call it."""
        if self.target is None:
            return "any object"
        return data.classes[self.target] + ("" if self.ground is None else f" and {data.contexts[self.ground]}")


@dataclass(frozen=True)
class View:
    """One image that is looked at."""

    image: Tensor
    """uint8, (1, 3, H, W)."""
    where: tuple[tuple[Group, Regions], ...]


@dataclass(frozen=True)
class Audience:
    """The fixed set of images, read once."""

    data: Dataset
    watching: Watching = field(default_factory=Watching)

    def __post_init__(self) -> None:
        """Refuse data without masks before anything is trained."""
        if not self.data.scored.any():
            raise InputError(
                "AFA and ABA are averages over true objects and their ground: expected ground-truth masks of some "
                "training images, found none; add masks, or see what the study 'bias' tells without any"
            )

    @cached_property
    def indices(self) -> list[int]:
        """Which images."""
        return spread(np.flatnonzero(self.data.scored), self.watching.images)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Any object, each class that is shown, and the pairs that are shown most often."""
        shown = self.data.labels[self.indices].sum(axis=0)
        found = [Group(), *(Group(int(k)) for k in np.flatnonzero(shown))]
        if self.data.context_labels is not None and self.data.contexts:
            together = self.data.labels[self.indices].T.astype(int) @ self.data.context_labels[self.indices].astype(int)
            pairs = [(int(k), int(j)) for k, j in np.argwhere(together >= self.watching.pair)]
            pairs = sorted(pairs, key=lambda pair: -int(together[pair]))[:MAX_PAIRS]
            found += [Group(k, j) for k, j in sorted(pairs)]
        return tuple(found)

    @cached_property
    def views(self) -> list[View]:
        """The images, each with the regions of the groups that it is in."""
        found = []
        contexts = self.data.context_labels
        for index in self.indices:
            sample = self.data[index]
            if sample.mask is None:
                continue
            where = []
            for group in self.groups:
                if group.target is not None and not sample.labels[group.target]:
                    continue
                if group.ground is None:
                    where.append((group, regions(sample.mask, group.target)))
                elif contexts is not None and contexts[index, group.ground]:
                    where.append((group, regions(sample.mask, group.target, sample.context, group.ground)))
            found.append(View(torch.from_numpy(sample.image).permute(2, 0, 1)[None].contiguous(), tuple(where)))
        return found

    def measure(self, backbone: Backbone) -> dict[str, list[list[float]]]:
        """AFA and ABA of each group, for each of :data:`READINGS`; the network is left as it was.

        Returns:
            By reading, one ``[AFA, ABA]`` a group; nan where no image shows the region.
        """
        norm = last_batch_norm(backbone)
        maps = entering(backbone, norm, [view.image for view in self.views])
        found: dict[str, list[list[float]]] = {}
        for number, reading in enumerate(READINGS):
            found[reading] = []
            for group in self.groups:
                seen, where = [], []
                for activation, view in zip(maps, self.views, strict=True):
                    for owner, part in view.where:
                        if owner == group:
                            seen.append(activation[number])
                            where.append(part)
                afa, aba, _, _ = average_activation(seen, where)
                found[reading].append([afa, aba])
        return found


def batch_norms(backbone: Backbone) -> list[nn.Module]:
    """The batch norms on the way to the last feature map, in order; those of shortcuts are left out."""
    return [part for name, part in backbone.net.named_modules() if isinstance(part, nn.BatchNorm2d) and _on_way(name)]


def last_batch_norm(backbone: Backbone) -> nn.Module:
    """The last batch norm: in a ResNet bn3 of its last block.

    Raises:
        InputError: the network has none.
    """
    norms = batch_norms(backbone)
    if not norms:
        raise InputError(
            f"AFA and ABA are read before the last batch norm and {backbone.name} has none: take a network with batch "
            "norm, such as resnet50 or mobilenetv2_100"
        )
    return norms[-1]


def _on_way(name: str) -> bool:
    return "downsample" not in name.split(".") and "shortcut" not in name.split(".")


@torch.no_grad()
def entering(backbone: Backbone, norm: nn.Module, images: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """What enters a batch norm, mean over channels, signed and rectified: (2, h, w) of each image.

    The network computes as it does when it is used, and is then put back: each part in training or not as it was.
    """
    where = next(backbone.parameters()).device
    modes = [(part, part.training) for part in backbone.modules()]
    kept: list[NDArray[np.float32]] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].float()
        kept.append(torch.stack([x.mean(dim=1)[0], x.relu().mean(dim=1)[0]]).cpu().numpy())

    hook = norm.register_forward_pre_hook(keep)
    try:
        backbone.eval()
        for image in images:
            backbone(image.to(where))
    finally:
        hook.remove()
        for part, training in modes:
            part.training = training
    return kept
