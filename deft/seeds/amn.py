"""AMN: maps that suit a single threshold (Lee, Kim and Shim, 2022, arXiv:2204.01372, "Threshold Matters in WSSS").

The maps of a classifier become confident labels, on which a network that classifies every pixel, conditioned on the
image's tags, is trained with a loss that discourages overconfidence. Its class probabilities are the maps.

Differs from the published code: dropout is off at inference (see :mod:`deft.seeds.amn_network`), and maps have no
background plane. Chosen here: the network starts from the trained classifier's backbone, and Adam's rate is constant.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.artifacts import file_stem, load_mask, load_seeds, save_seeds
from deft.contracts import (
    BACKGROUND,
    DigestFiles,
    KnowsFiles,
    ReadsFiles,
    Sample,
    SeedMaps,
    Splits,
)
from deft.engine.infer import device
from deft.engine.layout import channels_last
from deft.engine.method import Labels, MethodContext, confident_indices, learn, make_labels, settled
from deft.engine.optimise import Adam
from deft.engine.plan import Plan
from deft.engine.precision import EXACT
from deft.engine.reading import Examples
from deft.engine.share import Share
from deft.ranges import Factor, Multiple, MultipleRange, Multiples, PartialShare, check_ranges
from deft.seedmaps import STRIDE, grid
from deft.seeds.advcam import AdvCam
from deft.seeds.amn_network import AmnNetwork
from deft.seeds.base import Base, check_base
from deft.seeds.cam import Cam


@dataclass(frozen=True)
class Amn:
    """Settings of AMN; the defaults are the paper's code."""

    labels: Labels
    """Confident labels to train on; passed in by the recipe, because they belong to a refiner."""
    base: Cam | AdvCam | Base = field(default_factory=Cam)
    """The maps from which these labels are made."""
    plan: Plan = field(
        default_factory=lambda: Plan(epochs=5, min_steps=360, batch=16, optimiser=Adam(lr=5e-6, decay=1e-4))
    )
    """Training of the network; the published rate is for VOC's 3,310 steps."""
    crop: Multiple = 1.0
    """Side of the training crop as a multiple of the images' typical long side (512 for VOC's 500 pixels)."""
    scale: MultipleRange = (0.5, 1.5)
    """Range of the factor by which training images are resized."""
    flip: bool = True
    """Mirror a training image with probability 0.5."""
    dropout: PartialShare = 0.1
    """Share of the features dropped while training."""
    smoothing: PartialShare = 0.4
    """Share of each pixel's target spread over the other classes."""
    head_lr: Factor = 20.0
    """Learning rate of new layers as a multiple of the base rate: 1e-4 with a base rate of 5e-6."""
    scales: Multiples = (0.5, 1.0, 1.5, 2.0)
    """Factors by which the image is resized at inference."""
    mirror: bool = True
    """Average with the mirror image at inference."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_base(self.base)
        check_ranges(self)

    @property
    def learning(self) -> tuple[object, ...]:
        """The settings that training depends on; scales are not among them and can be changed without retraining."""
        return (
            *(self.labels, self.base, self.plan, self.crop, self.scale, self.flip),
            *(self.dropout, self.smoothing, self.head_lr),
        )

    def check(self, splits: Splits) -> None:
        """Check the files of a base that reads files, before the run starts."""
        if isinstance(self.base, ReadsFiles):
            self.base.check(splits)

    def fingerprint(self) -> str:
        """Digest of these files; empty if the base reads none."""
        return self.base.fingerprint() if isinstance(self.base, ReadsFiles) else ""

    def fingerprint_of(self, names: Sequence[str], digests: DigestFiles) -> str:
        """Digest of the files of some images; empty if the base reads none."""
        if isinstance(self.base, KnowsFiles):
            return self.base.fingerprint_of(names, digests)
        return self.fingerprint()

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Make first maps and confident labels and train the network, unless that is done already.

        Raises:
            InputError: there is no object in any of the confident labels.
        """
        base = self.base.prepare(context)
        torch.manual_seed(context.seed)
        network = AmnNetwork(
            copy.deepcopy(context.backbone),  # the first maps are still made with the classifier's backbone
            len(context.data.classes),
            dropout=self.dropout,
            smoothing=self.smoothing,
            head_lr=self.head_lr,
        )
        learn(context, network.train(), lambda: self._examples(base, context), self.plan, "pixel classifier")
        channels_last(network).to(device()).eval()
        stored = _stored(context)
        first = _first_of(base, settled(context, self.labels, stored), context)

        def locate(sample: Sample) -> SeedMaps:
            seeds, labels = first(sample)
            return self.maps(network, sample, labels, seeds.scores, context.precision)

        return locate

    def _examples(self, base: Callable[[Sample], SeedMaps], context: MethodContext) -> Examples:
        maps, _ = _files(context)

        def localise(index: int, sample: Sample) -> None:
            save_seeds(maps[index], base(sample), context.made_by)

        context.engine.make(Share("first maps", context.data, context.folder, maps, localise))
        masks = make_labels(context, self.labels, _stored(context))
        useful = confident_indices(masks, "lower seeds.labels.fg", context.remedy)
        return context.crops(masks, useful, crop=self.crop, scale=self.scale, flip=self.flip, centred=True)

    def maps(
        self,
        network: AmnNetwork,
        sample: Sample,
        labels: NDArray[np.uint8],
        scores: tuple[float, ...] = (),
        precision: str = EXACT,
    ) -> SeedMaps:
        """The maps of one image.

        Args:
            network: trained, in eval mode; its device is used.
            sample: image and tags.
            labels: its confident labels, (H, W).
            scores: the classifier's probabilities, which are passed on.
            precision: numerical precision of the network.

        Returns:
            Maps of the tags on the stride-4 grid, each stretched to 0..1 except on confident background.
        """
        size = (sample.image.shape[0], sample.image.shape[1])
        classes = tuple(int(index) for index in np.flatnonzero(sample.labels))
        if not classes:
            return SeedMaps((), torch.zeros(0, *grid(size)), size, scores)
        probability = network.probability(sample.image, sample.labels, self.scales, self.mirror, precision).cpu()
        background = torch.from_numpy(labels[::STRIDE, ::STRIDE] == BACKGROUND)
        return SeedMaps(classes, stretch(probability[[index + 1 for index in classes]], background), size, scores)


def stretch(probability: Tensor, background: Tensor) -> Tensor:
    """Stretch each map to the range 0..1, from its minimum to its maximum, except on confident background.

    Args:
        probability: maps of the classes present, (P, h, w) in [0, 1].
        background: bool (h, w), the cells that keep their probability.

    Returns:
        (P, h, w) in [0, 1]; a constant map becomes 0 outside the confident background.
    """
    least, most = probability.amin(dim=(1, 2), keepdim=True), probability.amax(dim=(1, 2), keepdim=True)
    span = most - least
    stretched = (probability - least) / torch.where(span > 0, span, 1)
    return torch.where(background, probability, stretched)


def _first_of(
    base: Callable[[Sample], SeedMaps], labels: Labels, context: MethodContext
) -> Callable[[Sample], tuple[SeedMaps, NDArray[np.uint8]]]:
    """First maps and confident labels of one image: loaded if it is a training image, else computed."""
    maps, masks = _files(context)
    places = {name: index for index, name in enumerate(context.data.names)}

    def first(sample: Sample) -> tuple[SeedMaps, NDArray[np.uint8]]:
        index = places.get(sample.name)
        if index is not None and _equal(sample, context.data[index]):  # names are unique only within a split
            return load_seeds(maps[index]), load_mask(masks[index])
        seeds = base(sample)
        return seeds, labels(sample.image, seeds)

    return first


def _equal(one: Sample, other: Sample) -> bool:
    return np.array_equal(one.labels, other.labels) and np.array_equal(one.image, other.image)


def _stored(context: MethodContext) -> Callable[[int], SeedMaps]:
    """Stored first maps of training image ``i``."""
    maps, _ = _files(context)
    return lambda index: load_seeds(maps[index])


def _files(context: MethodContext) -> tuple[list[Path], list[Path]]:
    """Paths of the first maps and of the confident labels of all training images."""
    stems = [file_stem(name) for name in context.data.names]
    return [context.folder / "base" / f"{stem}.npz" for stem in stems], [
        context.folder / "labels" / f"{stem}.png" for stem in stems
    ]
