"""The classifier that learns from tags: a dilated backbone and a head.

The recipe is that of IRN (Ahn et al., 2019, arXiv:1904.05044): stride 16, gradients stop at layer2, batch norm always
in eval mode, SGD at rate 0.1 (ten times that for new layers) with polynomial decay, random resizing, crop, horizontal
flip. Sizes are multiples of the images' typical long side, so that the same settings suit small and large photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from deft.artifacts import load_tensors, save_tensors, told_damaged
from deft.backbone import Backbone, from_spec, frozen_net, views_of
from deft.classify.base import innermost
from deft.classify.bcam import BcamHead
from deft.classify.deft import DeftHead
from deft.classify.drs import DrsHead
from deft.classify.frozen_deft import FrozenDeftHead
from deft.classify.gradients import ImageGradients, image_gradients
from deft.classify.linear import BackgroundHead, LinearHead
from deft.classify.puzzle_cam import PuzzleHead
from deft.classify.seam import SeamHead
from deft.classify.sipe import SipeHead
from deft.classify.sma import SmaHead
from deft.contracts import Augmentation, InputError, LayerAugmentation, SalientAugmentation, SampleAugmentation
from deft.engine.head import AllMapsHead, Head, HeadModule, checked, maps_for
from deft.engine.layout import channels_last
from deft.engine.optimise import ParamGroup, Sgd
from deft.engine.plan import Plan
from deft.engine.ranks import gathered, own, world
from deft.extend.members import check_augmentation, check_head
from deft.ranges import Multiple, MultipleRange, Range, Share, check_ranges
from deft.settings import later


@dataclass(frozen=True)
class Classifier:
    """Settings of the classifier and its training."""

    head: (
        LinearHead
        | DeftHead
        | FrozenDeftHead
        | SmaHead
        | BcamHead
        | SipeHead
        | SeamHead
        | PuzzleHead
        | DrsHead
        | BackgroundHead
        | Head
    )
    """What turns features into scores and class maps; ``--set`` takes the class name of any but one of the user's."""
    plan: Plan = field(default_factory=lambda: Plan(epochs=5, min_steps=360, batch=16, optimiser=Sgd()))
    crop: Multiple = 1.0
    """Side of the training crop as a multiple of the images' typical long side (512 for VOC's 500 pixels, IRN's)."""
    long_side: MultipleRange = (0.64, 1.28)
    """Range of the resized image's long side, likewise (320 to 640 for VOC, IRN's)."""
    flip: bool = True
    jitter: Share = 0.0
    """Colour jitter strength; PSA 0.3, IRN none."""
    augment: Augmentation | SalientAugmentation | SampleAugmentation | None = None
    """Augmentation of each batch, or of half its images before cropping, :mod:`deft.augment`."""
    freeze: bool = True
    """Stop gradients and keep batch norm's statistics, as IRN; without trained weights neither is done."""
    freeze_stride: Annotated[int, Range(0, 64)] = 8
    """Layers up to this stride are not trained: 8 stops gradients behind layer2, as IRN; 2 trains all but a ResNet's
    first convolution, as AdvCAM."""
    cells: Annotated[int, Range(1, 1024)] = field(default=8, metadata=later())
    """With a frozen backbone: side of the grid of cells over which its features are averaged for training."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_head(self.head)
        if self.augment is not None:
            check_augmentation(self.augment)
        check_ranges(self)
        if getattr(self.head, "own_views", False) and isinstance(self.augment, LayerAugmentation):
            raise InputError(_views_of_features(type(self.augment).__name__, type(self.head).__name__))
        if isinstance(self.augment, SampleAugmentation) and self.plan.batch % 2:
            raise InputError(
                f"expected an even classifier.plan.batch, half of which are augmented images, got {self.plan.batch}"
            )

    def pixels(self, side: int) -> tuple[int, tuple[int, int]]:
        """Side of the training crop, a multiple of 32, and range of long sides, in pixels, for a typical long side."""
        low, high = (max(1, round(share * side)) for share in self.long_side)
        return max(32, 32 * round(self.crop * side / 32)), (low, high)

    @property
    def loader_plan(self) -> Plan:
        """Plan with the batch counted in source images; an augmented image yields two views."""
        if isinstance(self.augment, SampleAugmentation):
            return replace(self.plan, batch=self.plan.batch // 2)
        return self.plan

    def small_head(self, channels: int) -> HeadModule | None:
        """The head for some channels and 2 classes, to look at before work; None if it reads all feature maps."""
        if isinstance(self.head, AllMapsHead):
            return None
        with torch.random.fork_rng(devices=[]):
            return self.head.build(channels, 2).eval()

    def build(self, backbone: Backbone, classes: int) -> ClassifierNetwork:
        """The network, untrained.

        Raises:
            InputError: a DEFT head would never swap, or the head builds no complete
                :class:`deft.engine.head.HeadModule`.
        """
        inner, place = innermost(self.head)
        swap_epoch = getattr(inner, "swap_epoch", 1)
        if swap_epoch > self.plan.epochs and getattr(inner, "swaps", False):
            raise InputError(
                f"classifier.head{place}.swap_epoch is {swap_epoch} and training ends with epoch {self.plan.epochs}: "
                "nothing would be swapped. Raise classifier.plan.epochs, or set both swap weights of the head to 0 to "
                "mean that"
            )
        of_batches = None if isinstance(self.augment, SampleAugmentation) else self.augment
        network = ClassifierNetwork(backbone, _head(self.head, backbone, classes), of_batches)
        if views_of(backbone) is not None:
            head = network.head
            views = type(head).loss_of_views is not HeadModule.loss_of_views
            if head.all_maps or head.reads_maps or head.with_images or views:
                raise InputError(
                    f"{type(self.head).__name__} learns from images or several feature maps, and a frozen backbone "
                    "has one map; take another head, or set frozen to none"
                )
            return network
        if self.freeze and backbone.pretrained:
            backbone.freeze(until=backbone.stage_of_stride(self.freeze_stride), batch_norm=True)
        return network


class ClassifierNetwork(nn.Module):
    """Backbone and head; a :class:`deft.engine.plan.Trainee`.

    Raises:
        InputError: the head lacks methods of :class:`deft.engine.head.HeadModule`.
    """

    parts: int = 1
    """Parts that a batch is computed in, see :mod:`deft.engine.parts`.

    The head gets the whole batch; trained batch norms get parts. A batch whose features are augmented inside the
    backbone is not divided.
    """

    def __init__(
        self, backbone: Backbone, head: HeadModule, augment: Augmentation | SalientAugmentation | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = checked(head)
        self.augment = augment

    def terms(self, batch: dict[str, Tensor], epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Loss terms of the head.

        Args:
            batch: ``image`` uint8 (N, 3, H, W) and ``labels`` float (N, K); or V views of each image, (N, V, 3, H, W)
                and (N, V, K), which are treated as separate images; or, instead of images, ``features`` (N, C, h, w) of
                the deepest map.
            epoch: 1-based.
            rng: the only source of randomness.
        """
        if "features" in batch:
            deep = frozen_net(self.backbone).standardised(batch["features"].float())
            return self.head.loss_of_maps([deep], batch["labels"], epoch, rng)
        images, labels = flatten_views(batch["image"], 4), flatten_views(batch["labels"], 2)
        augment = self.augment
        if augment is None:
            return self._loss(self.backbone.normalise(images), labels, epoch, rng)
        tags = gathered(labels)
        if isinstance(augment, SalientAugmentation):
            gradients = ImageGradients(self._gradients, self.backbone.std)
            x, tags = augment(self.backbone.normalise(gathered(images)), tags, rng, gradients)
            return self._loss(own(x), own(tags), epoch, rng)
        layer = augment.layer(len(self.backbone.channels), rng) if isinstance(augment, LayerAugmentation) else 0
        if layer == 0:
            # The global batch is augmented, and because of `rng` alike in each of several processes; each then
            # continues with its own images.
            x, tags = augment(self.backbone.normalise(gathered(images)), tags, rng)
            return self._loss(own(x), own(tags), epoch, rng)

        def change(features: Tensor) -> Tensor:
            nonlocal tags
            features, tags = augment(gathered(features), tags, rng)
            return own(features)

        def look(_views: Tensor) -> Sequence[Tensor]:
            raise InputError(_views_of_features(type(augment).__name__, type(self.head).__name__))

        x = self.backbone.normalise(images)
        maps = self.backbone.features(x, (layer - 1, change))
        maps = [x, *maps] if self.head.with_images else maps
        return self.head.loss_of_views(maps, look, own(tags), epoch, rng)

    def _loss(self, x: Tensor, labels: Tensor, epoch: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Loss terms of normalised images (N, 3, H, W) with labels (N, K)."""
        return self.head.loss_of_views(self.look(x), self.look, labels, epoch, rng)

    def look(self, x: Tensor) -> Sequence[Tensor]:
        """Maps that the head needs of normalised images (N, 3, H, W); the network works in :attr:`parts`."""
        return maps_for(self.head, self.backbone, x, self.parts)

    def _gradients(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of images that all processes have; each computes its part of them."""
        count = len(x)
        spare = -count % world()  # repeated, so that every process has as many
        if spare:
            x, labels = (torch.cat([each, each[:1].expand(spare, *each.shape[1:])]) for each in (x, labels))

        def score(part: Tensor) -> Tensor:
            return self.head.logits(self.backbone.features(part)[-1])

        scores, gradients = image_gradients(self, score, own(x), own(labels), self.parts)
        return gathered(scores)[:count], gathered(gradients)[:count]

    def groups(self) -> list[ParamGroup]:
        """The backbone at the base learning rate, the head at its own multiples of it."""
        head = [ParamGroup(params, lr) for params, lr in self.head.groups()]
        depths, spared = self.backbone.depths(), self.backbone.undecayed()
        return [ParamGroup(list(self.backbone.parameters()), depths=depths, spared=spared), *head]

    def logits(self, images: Tensor) -> Tensor:
        """Class scores before the sigmoid, (N, K), of uint8 images (N, 3, H, W)."""
        return self.head.logits(self.backbone(images)[-1]).float()


def save_classifier(path: Path, network: ClassifierNetwork, classes: tuple[str, ...], made_by: str) -> None:
    """Write the weights, with a header from which the backbone is rebuilt."""
    header = {"backbone": network.backbone.spec(), "classes": list(classes), "made_by": made_by}
    save_tensors(path, network.state_dict(), header)


def load_classifier(path: Path, head: Head) -> ClassifierNetwork:
    """A trained classifier, in eval mode.

    Raises:
        InputError: when the file is missing, broken or of another format.
    """
    tensors, header = load_tensors(path)
    with told_damaged(path):
        backbone = from_spec(header["backbone"])
        network = ClassifierNetwork(backbone, _head(head, backbone, len(header["classes"])))
        network.load_state_dict(tensors)
    return channels_last(network).eval()


def flatten_views(values: Tensor, axes: int) -> Tensor:
    """Values of images, of ``axes`` axes, or of their views (N, V, ...): all first views come first, (V * N, ...).

    In this order image i of the global batch is on rank i mod W whatever the number of views.
    """
    return values if values.ndim == axes else values.transpose(0, 1).flatten(0, 1)


def _views_of_features(augment: str, head: str) -> str:
    return (
        f"{augment} changes features, and {head} compares features of several views of an image, which would change "
        "differently; expected classifier.augment to be an augmentation of images, such as Mixup(), or None"
    )


def _head(head: Head, backbone: Backbone, classes: int) -> HeadModule:
    return (
        head.build_on(backbone.channels, classes)
        if isinstance(head, AllMapsHead)
        else head.build(backbone.channels[-1], classes)
    )
