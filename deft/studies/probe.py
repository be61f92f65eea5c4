"""Activation probe: the activations that enter the last batch norm, on a fixed set of images, averaged over regions.

The paper (DEFT, Fig. 1) says "before the last batch norm": in a ResNet this is the output of conv3 of the last block,
before bn3; in a MobileNetV2 that of the last block's last convolution.
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
from deft.data.scaling import resized_mask
from deft.data.spread import spread
from deft.metrics.activation import Regions, average_activation, regions
from deft.stages.truth import usable_truth

READINGS = ("signed", "rectified")
"""Activations as they are, and with negative values set to 0."""
MAX_PAIRS = 40
"""Maximum number of pairs of class and context, those shown by most images first."""


@dataclass(frozen=True)
class ProbeSettings:
    """Number of images and of measurements of a probe."""

    images: int = 150
    """Maximum number of training images with masks, evenly spaced over the dataset."""
    points: int = 30
    """Number of measurements, evenly spaced from before the first training step to after the last."""
    pair_images: int = 3
    """Minimum number of images that show a class and a context together, for the pair to be measured."""


@dataclass(frozen=True)
class Group:
    """Class whose activation is averaged, and its background region."""

    target: int | None = None
    """Class index; None for the objects of all classes."""
    context: int | None = None
    """Context index: only images of the pair are used, and the background is the context's own pixels if context masks
    are known. None takes the whole background."""

    def name(self, data: Dataset) -> str:
        """Name in tables and records."""
        if self.target is None:
            return "any object"
        return data.classes[self.target] + ("" if self.context is None else f" and {data.contexts[self.context]}")


@dataclass(frozen=True)
class ProbeImage:
    """One image of the probe, and the regions over which its activation is averaged."""

    image: Tensor
    """uint8, (1, 3, H, W)."""
    regions: tuple[tuple[Group, Regions], ...]
    """Each group that the image belongs to, with its object and background regions."""


@dataclass(frozen=True)
class ActivationProbe:
    """Measures the average foreground and background activation (AFA and ABA) of a network on fixed images.

    Args:
        data: dataset with ground-truth masks of at least some images.
        settings: number of images.

    Raises:
        InputError: no image has a mask.
    """

    data: Dataset
    settings: ProbeSettings = field(default_factory=ProbeSettings)

    def __post_init__(self) -> None:
        """Refuse data without masks before anything is trained."""
        if not self.data.scored.any():
            raise InputError(
                "AFA and ABA are averaged over true object and background regions: expected ground-truth masks of some "
                "training images, got none; add masks, or run the study 'bias', which needs none"
            )

    @cached_property
    def indices(self) -> list[int]:
        """Indices of the probe's images in the dataset."""
        return spread(np.flatnonzero(self.data.scored), self.settings.images)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """All objects together, each class that occurs, and the pairs of class and context that most images show."""
        shown = self.data.labels[self.indices].sum(axis=0)
        found = [Group(), *(Group(int(k)) for k in np.flatnonzero(shown))]
        if self.data.context_labels is not None and self.data.contexts:
            together = self.data.labels[self.indices].T.astype(int) @ self.data.context_labels[self.indices].astype(int)
            pairs = [(int(k), int(j)) for k, j in np.argwhere(together >= self.settings.pair_images)]
            pairs = sorted(pairs, key=lambda pair: -int(together[pair]))[:MAX_PAIRS]
            found += [Group(k, j) for k, j in sorted(pairs)]
        return tuple(found)

    @cached_property
    def images(self) -> list[ProbeImage]:
        """The images, read once, each with the regions of the groups that it belongs to."""
        found = []
        contexts, known = self.data.context_labels, usable_truth(self.data)
        for index in self.indices:
            sample = known[index]
            if sample.mask is None:
                continue
            members = []
            size = (sample.image.shape[0], sample.image.shape[1])
            mask = resized_mask(sample.mask, size)
            context = None if sample.context is None else resized_mask(sample.context, size)
            for group in self.groups:
                if group.target is not None and not sample.labels[group.target]:
                    continue
                if group.context is None:
                    members.append((group, regions(mask, group.target)))
                elif contexts is not None and contexts[index, group.context]:
                    members.append((group, regions(mask, group.target, context, group.context)))
            found.append(ProbeImage(torch.from_numpy(sample.image).permute(2, 0, 1)[None].contiguous(), tuple(members)))
        return found

    def measure(self, backbone: Backbone) -> dict[str, list[list[float]]]:
        """AFA and ABA of each group, for each of :data:`READINGS`; the network is left unchanged.

        Returns:
            For each reading one ``[AFA, ABA]`` per group; nan if no image shows the region.

        Raises:
            InputError: the network has no batch norm.
        """
        norm = last_batch_norm(backbone)
        maps = input_activations(backbone, norm, [one.image for one in self.images])
        found: dict[str, list[list[float]]] = {}
        for number, reading in enumerate(READINGS):
            found[reading] = []
            for group in self.groups:
                activations, where = [], []
                for activation, one in zip(maps, self.images, strict=True):
                    for member, part in one.regions:
                        if member == group:
                            activations.append(activation[number])
                            where.append(part)
                afa, aba, _, _ = average_activation(activations, where)
                found[reading].append([afa, aba])
        return found


def batch_norms(backbone: Backbone) -> list[nn.Module]:
    """The batch norms on the main path to the last feature map, in order, without those of shortcut connections."""
    return [
        part
        for name, part in backbone.net.named_modules()
        if isinstance(part, nn.BatchNorm2d) and not {"downsample", "shortcut"} & set(name.split("."))
    ]


def last_batch_norm(backbone: Backbone) -> nn.Module:
    """The last batch norm: in a ResNet bn3 of its last block.

    Raises:
        InputError: the network has none.
    """
    norms = batch_norms(backbone)
    if not norms:
        raise InputError(
            f"AFA and ABA are measured before the last batch norm: expected a network with batch norm, got "
            f"{backbone.name}, which has none; take one such as resnet50 or mobilenetv2_100"
        )
    return norms[-1]


@torch.no_grad()
def input_activations(backbone: Backbone, norm: nn.Module, images: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Input of a batch norm for each image, averaged over channels, signed and rectified: (2, h, w) each.

    The network runs in eval mode; afterwards each module is set back to the mode that it was in.

    Args:
        backbone: the network.
        norm: one of its batch norms.
        images: uint8 (1, 3, H, W) each.
    """
    device = next(backbone.parameters()).device
    modes = [(part, part.training) for part in backbone.modules()]
    kept: list[NDArray[np.float32]] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].float()
        kept.append(torch.stack([x.mean(dim=1)[0], x.relu().mean(dim=1)[0]]).cpu().numpy())

    hook = norm.register_forward_pre_hook(keep)
    try:
        backbone.eval()
        for image in images:
            backbone(image.to(device))
    finally:
        hook.remove()
        for part, training in modes:
            part.training = training
    return kept
