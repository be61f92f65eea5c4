"""AMN: maps that one threshold suits (Lee, Kim and Shim, 2022, arXiv:2204.01372, "Threshold Matters in WSSS").

The maps of a classifier become confident labels, and a network that scores every pixel, told the image's tags, learns
from them with a loss that keeps it from certainty. Its class probabilities are the maps.

Differs from the published code: dropout is off while maps are read (see :mod:`deft.seeds.amn_network`), and maps hold
no plane of background. Chosen here: the network begins from the trained classifier's backbone, and Adam's rate stays
constant.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.artifacts import file_stem, load_mask, load_seeds, save_seeds
from deft.contracts import BACKGROUND, InputError, ReadsFiles, Sample, SeedMaps, Splits
from deft.engine import ranks
from deft.engine.infer import device, for_each
from deft.engine.layout import channels_last
from deft.engine.method import Labels, MethodContext, confident_indices, learn, make_labels, settled
from deft.engine.optimise import Adam
from deft.engine.plan import Plan
from deft.engine.precision import EXACT
from deft.engine.reading import Examples
from deft.engine.worklist import WorkList
from deft.seedmaps import STRIDE, grid
from deft.seeds.amn_network import AmnNetwork
from deft.seeds.cam import Cam


class Base(Protocol):
    """A seed method that trains nothing: where another begins."""

    @property
    def learning(self) -> object:
        """None."""

    def prepare(self, context: Any) -> Callable[[Sample], SeedMaps]:
        """The function of one image and its tags."""


@dataclass(frozen=True)
class Amn:
    """Settings of AMN; the defaults are the paper's code."""

    labels: Labels
    """What the network learns from; the recipe hands them over, because they are a refiner's."""
    base: Base = field(default_factory=Cam)
    """The maps that these labels are read off."""
    plan: Plan = field(
        default_factory=lambda: Plan(epochs=5, min_steps=360, batch=16, optimiser=Adam(lr=5e-6, decay=1e-4))
    )
    """Training of the network; the published rate goes with VOC's 3,310 steps."""
    crop: float = 1.0
    """Side of the training crop as a multiple of the images' typical long side (512 for VOC's 500 pixels)."""
    scale: tuple[float, float] = (0.5, 1.5)
    """Range of the factor by which training images are resized."""
    flip: bool = True
    """Mirror every other training image."""
    dropout: float = 0.1
    """Share of the features dropped while training."""
    smoothing: float = 0.4
    """Share of each pixel's target spread over the other classes."""
    head_lr: float = 20.0
    """Multiple of the base rate for new layers: 1e-4 against 5e-6."""
    scales: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    """Sizes of the image at which maps are read."""
    mirror: bool = True
    """Read them off the mirrored image as well."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained or read."""
        if self.base.learning is not None:
            raise InputError(
                "expected seeds.base to be a method that trains nothing of its own, such as Cam, got "
                f"{type(self.base).__name__}"
            )
        if not 0 < self.scale[0] <= self.scale[1] or self.crop <= 0 or self.head_lr <= 0:
            raise InputError(
                "expected seeds.crop and seeds.head_lr above 0 and seeds.scale as two rising positive factors, got "
                f"{self.crop}, {self.head_lr} and {self.scale}"
            )
        if not (0 <= self.dropout < 1 and 0 <= self.smoothing < 1):
            raise InputError(
                f"expected seeds.dropout and seeds.smoothing in 0 to 1, 1 left out, got {self.dropout} and "
                f"{self.smoothing}"
            )
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"expected seeds.scales as one or more positive factors, got {self.scales}")

    @property
    def learning(self) -> tuple[object, ...]:
        """The settings that training depends on; with other scales the same network is read again."""
        return (
            *(self.labels, self.base, self.plan, self.crop, self.scale, self.flip),
            *(self.dropout, self.smoothing, self.head_lr),
        )

    def check(self, splits: Splits) -> None:
        """Look at the files of a base that reads files, before anything is made."""
        if isinstance(self.base, ReadsFiles):
            self.base.check(splits)

    def fingerprint(self) -> str:
        """Of these files; empty where the base reads none."""
        return self.base.fingerprint() if isinstance(self.base, ReadsFiles) else ""

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps]:
        """Make first maps and confident labels and train the network, as far as that is not done.

        Raises:
            InputError: the confident labels hold no object at all.
        """
        base = self.base.prepare(context)
        torch.manual_seed(context.seed)
        network = AmnNetwork(
            copy.deepcopy(context.backbone),  # the first maps go on being read off the classifier's own
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

        todo = WorkList(context.folder / "claims-maps", maps, context.made_by)
        for_each(context.data, todo, localise, title="first maps")
        ranks.barrier()  # thresholds are chosen from all maps
        masks = make_labels(context, self.labels, _stored(context))  # all processes meet here
        if ranks.first():
            todo.clear()
        useful = confident_indices(masks, "lower seeds.labels.fg")
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
            network: trained, in eval mode; its device does the work.
            sample: image and tags.
            labels: its confident labels, (H, W).
            scores: the classifier's, passed on.
            precision: of the network.

        Returns:
            Maps of the tags on the stride-4 grid, every one from 0 to 1 except where the background is sure.
        """
        size = (sample.image.shape[0], sample.image.shape[1])
        classes = tuple(int(index) for index in np.flatnonzero(sample.labels))
        if not classes:
            return SeedMaps((), torch.zeros(0, *grid(size)), size, scores)
        probability = network.probability(sample.image, sample.labels, self.scales, self.mirror, precision).cpu()
        background = torch.from_numpy(labels[::STRIDE, ::STRIDE] == BACKGROUND)
        return SeedMaps(classes, stretch(probability[[index + 1 for index in classes]], background), size, scores)


def stretch(probability: Tensor, background: Tensor) -> Tensor:
    """Each map stretched over the whole range, its least value to 0 and its largest to 1, but for the sure background.

    Args:
        probability: maps of the classes present, (P, h, w) in [0, 1].
        background: bool (h, w), the cells that keep their probability.

    Returns:
        (P, h, w) in [0, 1]; a map of one value is 0 where the background is not sure.
    """
    least, most = probability.amin(dim=(1, 2), keepdim=True), probability.amax(dim=(1, 2), keepdim=True)
    span = most - least
    stretched = (probability - least) / torch.where(span > 0, span, 1)
    return torch.where(background, probability, stretched)


def _first_of(
    base: Callable[[Sample], SeedMaps], labels: Labels, context: MethodContext
) -> Callable[[Sample], tuple[SeedMaps, NDArray[np.uint8]]]:
    """First maps and confident labels of one image: those stored where it is a training image, else made."""
    maps, masks = _files(context)
    places = {name: index for index, name in enumerate(context.data.names)}

    def first(sample: Sample) -> tuple[SeedMaps, NDArray[np.uint8]]:
        index = places.get(sample.name)
        if index is not None and _equal(sample, context.data[index]):  # names are unique in one split only
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
    """Of every training image, where its first maps and its confident labels are kept."""
    stems = [file_stem(name) for name in context.data.names]
    return [context.folder / "base" / f"{stem}.npz" for stem in stems], [
        context.folder / "labels" / f"{stem}.png" for stem in stems
    ]
