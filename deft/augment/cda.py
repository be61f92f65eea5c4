"""CDA: paste objects into scenes in which they are rarely seen (Su et al., ICCV 2021, arXiv:2103.01795).

A classifier that only sees trains on rails mistakes the rails for the train. A previous round of the pipeline has made
pseudo-masks; from each mask that shows a single class, at a plausible size, the object is cut out and put into a bank.
When the classifier is retrained, half of each batch are original images and the other half are the same images with a
pasted object of a class they do not contain, which is added to their tags.

Differs from the paper's code: objects are rotated and shrunk in premultiplied colours and without overshoot, so that
their edges have neither a fringe of the old background nor a bright rim; and ``rounds`` can be more than one, whereas
the code builds the bank and retrains once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from deft.contracts import BACKGROUND, IGNORE, Dataset, InputError, Sample
from deft.ranges import MultipleRange, Range, check_ranges


@dataclass(frozen=True)
class Instance:
    """Position of an object to cut out."""

    index: int
    """Index of its image."""
    box: tuple[int, int, int, int]
    """Tight bounding box: top, left, bottom, right, in pixels; the last two are exclusive."""


@dataclass(frozen=True)
class Cda:
    """Settings of CDA; the defaults are the paper's code."""

    rounds: Annotated[int, Range(1, 100)] = 1
    """How often the pipeline is run for its masks before the final classifier is trained: the first time without CDA,
    then each time with objects from the previous masks."""
    share: Annotated[tuple[float, float], Range(0, 1, above=True, rising=True)] = (0.1, 0.7)
    """An object is used if it covers a share of its image in this range."""
    rotate: Annotated[float, Range(0, 180)] = 90.0
    """Objects are rotated by up to this angle in either direction, in degrees."""
    scale: MultipleRange = (1.0, 1.0)
    """Range of the factor by which an object is resized; a variant in the paper's code uses (0.8, 1.2)."""
    largest: Annotated[float, Range(0, 1, above=True)] = 0.7
    """Objects are then shrunk to at most this share of the sides of the image they are pasted into."""
    blur: Annotated[float, Range(0, 1000)] = 0.0
    """An object's edge fades inwards over about this many pixels; a variant in the paper's code blurs it."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_ranges(self)

    @property
    def earlier(self) -> Cda | None:
        """Augmentation of the previous round; None for the first round, which pastes nothing."""
        return replace(self, rounds=self.rounds - 1) if self.rounds > 1 else None

    def prepare(self, data: Dataset, masks: Callable[[int], NDArray[np.uint8]]) -> Bank:
        """Search the masks for objects to cut out.

        Args:
            data: the training images.
            masks: function that returns the pseudo-mask (H, W) of image ``i``; called again whenever an object is cut.

        Raises:
            InputError: no mask shows a single class at a size within ``share``.
        """
        found: dict[int, list[Instance]] = {k: [] for k in range(len(data.classes))}
        for index in range(len(data)):
            if (instance := find_instance(masks(index), self.share)) is not None:
                found[instance[0]].append(Instance(index, instance[1]))
        if not any(found.values()):
            raise InputError(
                f"expected pseudo-masks with one class that covers {self.share[0]:g} to {self.share[1]:g} of the "
                f"image, found none among {len(data)}, so there is nothing to paste; look at the masks of the previous "
                "round (folder round-0 in the run), widen classifier.augment.share, or change the settings of the masks"
            )
        return Bank(self, data, masks, {k: tuple(instances) for k, instances in found.items()})


def find_instance(mask: NDArray[np.uint8], share: tuple[float, float]) -> tuple[int, tuple[int, int, int, int]] | None:
    """Class and bounding box of the object in a mask with one class only, of a size within ``share``; else None.

    Args:
        mask: (H, W): 0 background, k + 1 for class k, 255 ignore.
        share: range of the share of the image that the object covers, inclusive.
    """
    values = [int(value) for value in np.unique(mask) if value not in (BACKGROUND, IGNORE)]
    if len(values) != 1:
        return None
    inside = mask == values[0]
    if not share[0] <= inside.mean() <= share[1]:
        return None
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return values[0] - 1, (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


@dataclass(frozen=True)
class Bank:
    """Objects to paste: only their positions are stored; pixels are read when an object is pasted."""

    settings: Cda
    data: Dataset
    masks: Callable[[int], NDArray[np.uint8]]
    instances: Mapping[int, tuple[Instance, ...]]
    """Objects by class index; empty for a class that is never alone in a mask."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of objects of each class."""
        return {name: len(self.instances[k]) for k, name in enumerate(self.data.classes)}

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Paste an object of a class that the image is not tagged with, and add the tag; no change if there is none.

        The class is uniform among the absent classes with objects, the object among those of the class, and its angle,
        scale and position within their ranges. ``mask`` and ``context`` become None, since they no longer apply.
        """
        absent = [k for k, instances in self.instances.items() if instances and not sample.labels[k]]
        if not absent:
            return sample
        k = absent[int(rng.integers(len(absent)))]
        instance = self.instances[k][int(rng.integers(len(self.instances[k])))]
        angle = float(rng.uniform(-self.settings.rotate, self.settings.rotate))
        factor = float(rng.uniform(*self.settings.scale))
        size = sample.image.shape[:2]
        cutting = tight(resized(turned(self.cut(k, instance), angle), factor, size, self.settings.largest))
        cutting = faded(cutting, self.settings.blur)
        top = int(rng.integers(0, size[0] - cutting.height, endpoint=True))
        left = int(rng.integers(0, size[1] - cutting.width, endpoint=True))
        canvas = Image.fromarray(sample.image)
        canvas.paste(cutting.convert("RGB"), (left, top), cutting.getchannel("A"))
        labels = sample.labels.copy()
        labels[k] = True
        return replace(sample, image=np.array(canvas), labels=labels, mask=None, context=None)

    def cut(self, k: int, instance: Instance) -> Image.Image:
        """The object as RGBA, opaque where the mask is class ``k``."""
        top, left, bottom, right = instance.box
        colours = self.data[instance.index].image[top:bottom, left:right]
        inside = self.masks(instance.index)[top:bottom, left:right] == k + 1
        return Image.fromarray(np.dstack([colours, np.where(inside, 255, 0).astype(np.uint8)]))


def turned(cutting: Image.Image, angle: float) -> Image.Image:
    """Rotate an RGBA object counter-clockwise by ``angle`` degrees, on a canvas enlarged to its rotated box."""
    return cutting.rotate(angle, Image.Resampling.BILINEAR, expand=True)


def tight(cutting: Image.Image) -> Image.Image:
    """Crop an RGBA object to its tight bounding box."""
    return cutting.crop(cutting.getchannel("A").getbbox())


def resized(cutting: Image.Image, factor: float, size: tuple[int, int], largest: float) -> Image.Image:
    """Resize an RGBA canvas by ``factor``, or by less if it would exceed ``largest`` times the sides (H, W).

    As in the published code, the limit applies to the canvas of the rotated object, not to the object itself: a disc
    200 pixels wide, rotated by 45 degrees, becomes 148 wide on an image of 300 x 300.
    """
    width, height = cutting.size
    factor = min(factor, largest * size[0] / height, largest * size[1] / width)
    wanted = (max(1, int(width * factor)), max(1, int(height * factor)))
    return cutting if wanted == cutting.size else cutting.resize(wanted, Image.Resampling.BILINEAR)


def faded(cutting: Image.Image, blur: float) -> Image.Image:
    """Fade the edge of an RGBA object inwards over about ``blur`` pixels; pixels outside its mask stay transparent."""
    if blur == 0:
        return cutting
    border = int(np.ceil(3 * blur))
    around = ImageOps.expand(cutting.getchannel("A"), border).filter(ImageFilter.GaussianBlur(blur))
    soft = np.asarray(ImageOps.crop(around, border), dtype=np.int16)
    pixels = np.array(cutting)
    pixels[..., 3] = np.minimum(pixels[..., 3], np.clip(2 * soft - 255, 0, 255)).astype(np.uint8)
    return Image.fromarray(pixels)
