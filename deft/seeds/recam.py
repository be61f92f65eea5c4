"""ReCAM: a second classifier, of one class at a time (Chen et al., CVPR 2022, arXiv:2203.00962).

The sigmoid of a classifier lets one cell count for several classes. ReCAM trains the finished classifier on beside a
second one with a softmax: the features of an image, weighted by the map of one of its tags, are to be told from all
other classes. The maps are those of the products of both classifiers' weights.

Differs from the published code: weights are multiplied with the size of a feature, without its sign. It is the same
where the last feature map ends in a ReLU, as ResNet's does. That of MobileNetV2, and of many networks since, has both
signs: a negative feature speaks for a class by a negative weight, and by the product of two negative weights it would
speak against it. With DEFT's head, the first classifier is f_fg, whose map weights the features, and all of DEFT's own
terms go on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft.backbone import Backbone
from deft.contracts import InputError, Sample, SeedMaps
from deft.engine.head import HeadModule, Look, maps_for, normalise
from deft.engine.infer import device
from deft.engine.layout import channels_last
from deft.engine.method import MethodContext, learn
from deft.engine.optimise import ParamGroup, Sgd
from deft.engine.plan import Plan
from deft.ranges import Multiple, MultipleRange, Range, Weight, check_ranges
from deft.seeds.advcam import AdvCam
from deft.seeds.base import AFTER, Base, check_base
from deft.seeds.cam import Cam


@dataclass(frozen=True)
class ReCam:
    """Settings of ReCAM; the defaults are the released code's for VOC."""

    base: Cam | AdvCam | Base = field(default_factory=Cam)
    """Reads the maps of both classifiers."""
    plan: Plan = field(default_factory=lambda: Plan(epochs=4, min_steps=360, batch=16, optimiser=Sgd(lr=5e-4)))
    """Training; its rate is that of the second classifier."""
    weight: Weight = 1.0
    """Weight of the second classifier's loss (0.1 for COCO)."""
    slower: Weight = 0.1
    """Multiplier of the rate for the backbone and the first classifier, which are trained already."""
    crop: Multiple = 1.0
    """Side of the training crop as a multiple of the images' typical long side."""
    long_side: MultipleRange = (0.64, 1.28)
    """Range of the resized image's long side, likewise."""
    freeze_stride: Annotated[int, Range(0, 64)] = 2
    """Layers up to this stride are not trained: 2 trains all but a ResNet's first convolution."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and a base that trains something."""
        check_ranges(self)
        check_base(self.base)

    @property
    def learning(self) -> tuple[object, ...]:
        """The settings that training depends on; the way the maps are read is not among them."""
        return (self.plan, self.weight, self.slower, self.crop, self.long_side, self.freeze_stride)

    def fits(self, head: HeadModule, channels: int) -> None:
        """Refuse a head whose cell scores are no products of weights and features."""
        _check_linear(head, channels)

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Train both classifiers, unless that is done, and return the function of one image and its tags.

        Raises:
            InputError: the classifier's scores are no products of weights and features.
        """
        start = context.classifier
        torch.manual_seed(context.seed)
        head = ReCamModule(copy.deepcopy(start.head), start.backbone.channels[-1], self.weight)
        network = ReCamNetwork(copy.deepcopy(start.backbone), head, self)
        examples = partial(context.tagged, crop=self.crop, long_side=self.long_side)
        learn(context, network.train(), examples, self.plan, "second classifier")
        channels_last(network).to(device()).eval()
        return self.base.prepare(replace(context, network=network, backbone=network.backbone))


class ReCamModule(HeadModule):
    """A trained head, and the second classifier beside it.

    Args:
        first: the trained head.
        channels: C of the last feature map.
        weight: of the second classifier's loss.

    Raises:
        InputError: the first head's score of a cell is not linear in the cell's features.
    """

    def __init__(self, first: HeadModule, channels: int, weight: float) -> None:
        super().__init__()
        self.first = first.requires_grad_(True)
        self.all_maps, self.with_images = first.all_maps, first.with_images
        self.weight = weight
        self.second = nn.Linear(channels, _check_linear(first, channels), bias=False)

    def loss_of_views(
        self, maps: Sequence[Tensor], look: Look, labels: Tensor, epoch: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """The first head's terms, and ``single``, the second classifier's."""
        terms = self.first.loss_of_views(maps, look, labels, epoch, rng)
        if self.weight:
            terms["single"] = self.weight * self.single(maps[-1], labels)
        return terms

    def single(self, features: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of each tag, from features weighted by its map: its mean over an image's tags, then images.

        Args:
            features: (N, C, h, w).
            labels: float multi-hot, (N, K); an image without tags counts as 0.

        Returns:
            Scalar.
        """
        maps = normalise(self.first.cell_scores(features).float().relu()).flatten(2)
        pooled = (maps / maps.shape[2]) @ features.float().flatten(2).mT  # (N, K, C); in 16 bits a sum would overflow
        images, classes = labels.nonzero(as_tuple=True)
        losses = F.cross_entropy(self.second(pooled[images, classes]).float(), classes, reduction="none")
        return (losses / (labels > 0).sum(dim=1)[images]).sum() / len(labels)

    def logits(self, features: Tensor) -> Tensor:
        """The first head's scores before the sigmoid, (N, K)."""
        return self.first.logits(features)

    def cell_scores(self, features: Tensor) -> Tensor:
        """Score of each class in each cell, by the products of both classifiers' weights, (N, K, h, w)."""
        weights = _weights_of(self.first, features.shape[1]) * self.second.weight
        return F.conv2d(features.abs(), weights.to(features)[:, :, None, None])

    def activation(self, features: Tensor) -> Tensor:
        """The positive part of :meth:`cell_scores`, (N, 1, K, h, w)."""
        return self.cell_scores(features).relu()[:, None]


class ReCamNetwork(nn.Module):
    """A trained classifier and the second one; a :class:`deft.engine.plan.Trainee`."""

    parts: int = 1
    """Parts that a batch is computed in, see :mod:`deft.engine.parts`."""

    def __init__(self, backbone: Backbone, head: ReCamModule, settings: ReCam) -> None:
        super().__init__()
        self.backbone, self.settings = backbone, settings
        self.head: Any = head
        backbone.freeze(until=backbone.stage_of_stride(settings.freeze_stride), batch_norm=True)

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Terms of both classifiers.

        Args:
            batch: ``image`` uint8 (N, 3, H, W), and ``labels`` float (N, K).
            epoch: 1-based; the first head is told that its own training is over.
            rng: the only source of randomness.
        """
        maps = self._look(self.backbone.normalise(batch["image"]))
        terms: dict[str, Tensor] = self.head.loss_of_views(maps, self._look, batch["labels"], AFTER, rng)
        return terms

    def _look(self, x: Tensor) -> Sequence[Tensor]:
        return maps_for(self.head, self.backbone, x, self.parts)

    def groups(self) -> list[ParamGroup]:
        """What is trained already at a lower rate, the second classifier at the base learning rate."""
        trained = [*self.backbone.parameters(), *self.head.first.parameters()]
        return [ParamGroup(trained, self.settings.slower), ParamGroup(list(self.head.second.parameters()))]

    def logits(self, images: Tensor) -> Tensor:
        """Class scores before the sigmoid, (N, K), of uint8 images (N, 3, H, W)."""
        scores: Tensor = self.head.logits(self.backbone(images)[-1])
        return scores.float()


def _weights_of(head: HeadModule, channels: int) -> Tensor:
    """The weights of a head's cell scores, (K, C): its scores of cells that have one channel each."""
    own = next(head.parameters())
    cells = torch.eye(channels, device=own.device, dtype=own.dtype)[:, :, None, None]
    return head.cell_scores(cells)[:, :, 0, 0].mT


@torch.no_grad()
def _check_linear(head: HeadModule, channels: int) -> int:
    """Number of classes of a head whose cell scores are products of its weights and features.

    Raises:
        InputError: they are not.
    """
    weights = _weights_of(head, channels).float()
    probe = torch.linspace(-1, 1, channels).to(weights)
    found = head.cell_scores(probe[None, :, None, None])[0, :, 0, 0].float()
    if bool(((weights @ probe - found).abs() > 0.01 * weights.abs().sum(dim=1) + 1e-6).any()):
        raise InputError(
            "expected a classifier whose cell scores are products of weights and features, for ReCam to multiply the "
            f"weights, got one of {type(head).__name__}; choose LinearHead() or DeftHead(), or other seeds"
        )
    return len(weights)
