"""Seed methods and refiners: what they are, what a run gives them, and how they train and label.

Both kinds are *prepared* once, with a :class:`MethodContext`, and return a function of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deft.artifacts import file_stem, load_mask, load_tensors, save_mask, save_tensors, told_damaged
from deft.backbone import Backbone
from deft.contracts import BACKGROUND, IGNORE, Dataset, InputError, Sample, SeedMaps
from deft.data.examples import MaskedImages, TaggedImages
from deft.data.scaling import resized_mask
from deft.data.transforms import TrainCrop
from deft.engine import ranks
from deft.engine.budget import AUTO, GigaBytes
from deft.engine.corrections import repeated
from deft.engine.features import Stored
from deft.engine.fit import finish, fit
from deft.engine.head import HeadModule
from deft.engine.plan import Plan
from deft.engine.reading import Examples
from deft.engine.share import HERE, Engine, Share
from deft.thresholds import CONFIDENT, LONGER, MapStatistics, Threshold, choose, kept_statistics, needed

Labels = Callable[[NDArray[np.uint8], SeedMaps], NDArray[np.uint8]]
"""Function of an image (H, W, 3) and its seeds that returns a mask (H, W), 255 where it is not confident."""


NO_CLASSIFIER = "these seeds are read from a classifier and the recipe has none; give it one, or seeds of another kind"


class Localiser(Protocol):
    """What class maps are read from: a backbone and a head."""

    backbone: Backbone
    head: HeadModule


class TrainedClassifier(Localiser, Protocol):
    """A classifier network, in eval mode."""

    def logits(self, images: Tensor) -> Tensor:
        """Class scores before the sigmoid, (N, K), of uint8 images (N, 3, H, W)."""

    def to(self, device: torch.device) -> Self:
        """The network itself, on that device."""


@dataclass(frozen=True)
class MethodContext:
    """What the ``prepare`` of a seed method or a refiner may use."""

    data: Dataset
    """Training images, without ground truth."""
    seeds: Callable[[int], SeedMaps]
    """Stored seeds of training image ``i``; there are none yet while a seed method makes them."""
    backbone: Backbone
    """The trained classifier's, or what it would start from where the recipe has no classifier; in eval mode."""
    network: TrainedClassifier | None
    """The trained classifier, a copy of this context's own; None where the recipe has none."""
    folder: Path
    """Folder of the stage that is trained: what is kept there survives a kill."""
    made_by: str
    """Key of the stage, to be written into its files."""
    side: int
    """Typical long side of the images, in pixels."""
    seed: int
    """Random seed for initialisation, batches and crops."""
    precision: str
    """Numerical precision of training and inference, as Lightning names it (``32-true``, ``bf16-mixed``)."""
    engine: Engine = HERE
    """Makes files of images, one for each: in the processes of the run, or on a Ray cluster."""
    memory: GigaBytes = AUTO
    """Most memory of a training, in GB, or ``auto``."""
    reviewed: Mapping[int, Path] = field(default_factory=dict)
    """Files of reviewed masks, (H, W) as the photograph, by index of the image: truth to learn from, for a refiner."""
    held_out: frozenset[int] = frozenset()
    """Images whose labels teach a refiner nothing, because they are scored."""
    stored: Stored = field(default=lambda sample: None)
    """Stored features of an image of the run, if its backbone is frozen."""
    repeats: int = 1
    """How often an epoch of :meth:`crops` shows an image with a reviewed mask."""
    remedy: str = LONGER
    """What makes better seeds, for messages; see :func:`remedy_of`."""

    @property
    def classifier(self) -> TrainedClassifier:
        """The trained classifier, in eval mode.

        Raises:
            InputError: the recipe has none.
        """
        if self.network is None:
            raise InputError(NO_CLASSIFIER)
        return self.network

    def tagged(self, *, crop: float, long_side: tuple[float, float], flip: bool = True) -> TaggedImages:
        """Random crops of all images with their tags, as a classifier is trained on.

        Args:
            crop: its side as a multiple of the images' typical long side; rounded to 32 pixels.
            long_side: range of the long side to which images are resized before, likewise.
            flip: mirror every other image.
        """
        low, high = (max(1, round(share * self.side)) for share in long_side)
        cut = TrainCrop(max(32, 32 * round(crop * self.side / 32)), long_side=(low, high), flip=flip)
        return TaggedImages(self.data, cut, self.backbone.fill)

    def crops(
        self,
        masks: list[Path],
        indices: tuple[int, ...],
        *,
        crop: float,
        scale: tuple[float, float],
        flip: bool,
        jitter: float = 0.0,
        centred: bool = False,
    ) -> MaskedImages:
        """Random crops of the images ``indices`` and of their masks, with the images' tags.

        Args:
            masks: one path for every image of the data.
            indices: the images to learn from; those with a reviewed mask are repeated.
            crop: its side as a multiple of the images' typical long side.
            scale: range of the factor by which images are resized.
            flip: mirror every other image.
            jitter: strength of the colour jitter, 0 to 1.
            centred: make the side 32 k + 1 pixels instead of 32 k. Cell i of a feature map then is centred on pixel
                i * stride whether the network pads like torch or like TensorFlow.
        """
        side = 32 * max(1, round(crop * self.side / 32)) + int(centred)
        cut = TrainCrop(side, scale=scale, flip=flip, jitter=jitter)
        return MaskedImages(self.data, masks, cut, self.backbone.fill, repeated(indices, self.reviewed, self.repeats))


class SeedMethod(Protocol):
    """Finds where in an image its tags are; a frozen dataclass whose fields are its settings.

    One that trains something beyond the classifier also has a property ``learning``, see :func:`learning`.
    """

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps | None]:
        """Train what has to be trained, or load it, and return the function of one image and its tags.

        That returns None if no seeds exist for a held-out image; it is not scored.
        """


@runtime_checkable
class ZeroShot(Protocol):
    """A seed method that tells without a trained classifier which classes an image shows; optional.

    The maps that it returns have ``scores``, and it needs no classifier.
    """

    @property
    def presence(self) -> float:
        """Probability above which a class is taken to be in an image without tags."""

    @property
    def zero_shot(self) -> bool:
        """Whether images of a run without tags get the classes that are found in them."""


@runtime_checkable
class NeedsHead(Protocol):
    """A seed method that cannot read every classifier; optional."""

    def fits(self, head: HeadModule, channels: int) -> None:
        """Refuse a classifier before it is trained.

        Args:
            head: that of the classifier, untrained, for other numbers of channels and classes.
            channels: of the feature map it reads.

        Raises:
            InputError: the method cannot read its maps.
        """


class Refiner(Protocol):
    """Turns seeds into better maps; a frozen dataclass whose fields are its settings.

    One that trains something also has a property ``learning``, see :func:`learning`; one whose maps cover more or less
    than their seeds says so, see :func:`covers_as_seeds`.
    """

    @property
    def background(self) -> Threshold:
        """Threshold below which a refined map is background; ``auto`` chooses it from the refined maps."""

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        """Train what has to be trained, or load it, and return the function of one image."""


def learning(method: object) -> object:
    """The settings that the ``prepare`` of a method trains by; None for one that trains nothing.

    A method says so in an attribute or property ``learning``, and leaves it out where it trains nothing. Where these
    settings are equal, what another run trained is taken over.
    """
    return getattr(method, "learning", None)


def remedy_of(seeds: SeedMethod) -> str:
    """What makes better seeds than those of a method, for messages.

    A method that reads its maps from something else than a classifier says so in an attribute or property ``remedy``.
    """
    return str(getattr(seeds, "remedy", LONGER))


def covers_as_seeds(refiner: Refiner) -> bool:
    """Whether refined maps show as much of an image as their seeds, so that ``auto`` may choose a threshold by that.

    A refiner that says no, in an attribute ``covers_as_seeds``, has its threshold chosen from the refined maps alone.
    """
    return bool(getattr(refiner, "covers_as_seeds", True))


def learn(
    context: MethodContext,
    network: nn.Module,
    examples: Callable[[], Examples],
    plan: Plan,
    title: str,
    after: Callable[[], None] | None = None,
) -> None:
    """Train the network of a stage and store it in the stage's folder, or load what is there.

    Args:
        context: gives folder, seed and precision.
        network: a :class:`deft.engine.plan.Trainee`; filled in place.
        examples: makes the training examples; called only if the network has to be trained.
        plan: how long and how to train.
        title: progress-bar label.
        after: measures or changes the trained network before it is stored.
    """
    path = context.folder / "model.safetensors"
    if ranks.agreed(path.exists()):
        with told_damaged(path):
            network.load_state_dict(load_tensors(path)[0])
        finish(context.folder)  # a kill may have happened between the two
        return
    given = examples()
    fit(
        network,
        given,
        plan,
        folder=context.folder,
        seed=context.seed,
        precision=context.precision,
        title=title,
        memory=context.memory,
    )
    if after is not None:
        after()
    if ranks.first():
        save_tensors(path, network.state_dict(), {"made_by": context.made_by})
        finish(context.folder)
    ranks.barrier()


@runtime_checkable
class OpenLabels(Protocol):
    """Labels whose thresholds may be chosen from statistics of the seeds."""

    @property
    def open(self) -> bool:
        """Whether a threshold is still to be chosen."""

    def settled(self, statistics: MapStatistics) -> Labels:
        """These labels with every threshold chosen."""


def settled(context: MethodContext, labels: Labels, seeds: Callable[[int], SeedMaps]) -> Labels:
    """Labels with every threshold a number; arguments as for :func:`make_labels`.

    Raises:
        InputError: the seeds have one value everywhere, or there are none.
    """
    if isinstance(labels, OpenLabels) and labels.open:
        found = statistics_of(context, seeds)
        needed(choose(found), CONFIDENT, found.images, context.remedy)
        return labels.settled(found)
    return labels


def statistics_of(context: MethodContext, seeds: Callable[[int], SeedMaps]) -> MapStatistics:
    """Statistics of the training images' seeds, kept in ``statistics.json`` of the folder.

    Args:
        context: gives images and folder.
        seeds: of training image ``i``.
    """
    return kept_statistics(context.folder / "statistics.json", context.made_by, context.data, seeds)


def make_labels(
    context: MethodContext,
    labels: Labels,
    seeds: Callable[[int], SeedMaps],
) -> list[Path]:
    """Labels of every training image, palette PNGs in ``labels/`` of the folder; existing ones are kept.

    Those of a reviewed image are its reviewed mask, and those of a held-out one are 255 everywhere.

    Args:
        context: gives images and folder.
        labels: function of an image (H, W, 3) and its seeds; returns a mask (H, W), 255 where it is not confident.
        seeds: of training image ``i``.
    """
    labels = settled(context, labels, seeds)
    paths = [context.folder / "labels" / (file_stem(name) + ".png") for name in context.data.names]

    def work(index: int, sample: Sample) -> None:
        size = (sample.image.shape[0], sample.image.shape[1])
        if index in context.held_out:
            found = np.full(size, IGNORE, dtype=np.uint8)
        elif index in context.reviewed:
            found = resized_mask(load_mask(context.reviewed[index]), size)
        else:
            found = labels(sample.image, seeds(index))
        save_mask(paths[index], found, context.made_by)

    context.engine.make(Share("confident labels", context.data, context.folder, paths, work, on_device=False))
    return paths


def confident_indices(paths: list[Path], change: str, remedy: str) -> tuple[int, ...]:
    """Indices of masks with at least one confident pixel.

    Args:
        paths: mask files.
        change: which setting of the labels to change, for the error message.
        remedy: what makes better seeds, likewise.

    Raises:
        InputError: no mask holds an object.
    """
    useful, objects = [], False
    for index, path in enumerate(paths):
        values = set(np.unique(load_mask(path)).tolist()) - {IGNORE}
        if values:
            useful.append(index)
        objects = objects or bool(values - {BACKGROUND})
    if not objects:
        raise InputError(
            "expected confident labels of some object in some image, found none in any; "
            f"look at the seeds, {remedy}, or {change}"
        )
    return tuple(useful)
