"""CDA: paste objects into scenes they are not usually seen in (Su et al., ICCV 2021, arXiv:2103.01795).

A classifier that sees trains on rails only takes the rails for the train. An earlier round of the pipeline has made
pseudo-masks; where one shows a single class, at a size that can be trusted, its object is cut out along the mask and
kept in a bank. While the classifier learns anew, half of each batch are images as they are and the other half the same
images with an object pasted in, of a class they do not hold, and the class added to their tags.

Differs from the paper's code: an object is turned and shrunk in premultiplied colours and without overshoot, so that
its edge takes neither a fringe from beyond the mask nor a bright rim; and where the code makes one round, a bank and a
retraining, ``rounds`` can ask for more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from deft.contracts import BACKGROUND, IGNORE, Dataset, InputError, Sample


@dataclass(frozen=True)
class Instance:
    """Where one object is to be cut from."""

    index: int
    """Of the image it is in."""
    box: tuple[int, int, int, int]
    """The tight box around it: top, left, bottom, right, in pixels; the last two are not inside."""


@dataclass(frozen=True)
class Cda:
    """Settings of CDA; the defaults are the paper's code."""

    rounds: int = 1
    """How often the pipeline is run for its masks before the classifier that counts: the first time as it is without
    CDA, then each time with objects from the masks before."""
    share: tuple[float, float] = (0.1, 0.7)
    """A mask is cut from where its object covers this share of the image."""
    rotate: float = 90.0
    """An object is turned by up to this angle either way, in degrees."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the factor by which an object is resized; a variant in the paper's code takes (0.8, 1.2)."""
    largest: float = 0.7
    """An object is then shrunk to at most this share of the sides of the image that it is pasted into."""
    blur: float = 0.0
    """An object's edge fades inwards over about this many pixels; a variant in the paper's code blurs it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be pasted."""
        if self.rounds < 1 or not 0 < self.share[0] <= self.share[1] <= 1 or not 0 < self.largest <= 1:
            raise InputError(
                "expected classifier.augment.rounds of at least 1, classifier.augment.share as two rising shares and "
                f"classifier.augment.largest in 0 to 1, got {self.rounds}, {self.share} and {self.largest}"
            )
        if not 0 < self.scale[0] <= self.scale[1] or not 0 <= self.rotate <= 180 or self.blur < 0:
            raise InputError(
                "expected classifier.augment.scale as two rising positive factors, classifier.augment.rotate in 0 to "
                f"180 and classifier.augment.blur of at least 0, got {self.scale}, {self.rotate} and {self.blur}"
            )

    @property
    def earlier(self) -> Cda | None:
        """What the round before this one trains with; None for the first, which pastes nothing."""
        return replace(self, rounds=self.rounds - 1) if self.rounds > 1 else None

    def prepare(self, data: Dataset, masks: Callable[[int], NDArray[np.uint8]]) -> Bank:
        """Look through the masks for objects to cut out.

        Args:
            data: the training images.
            masks: pseudo-mask (H, W) of image ``i``; asked for again whenever an object is cut.

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
                f"image, found none among {len(data)}: there is nothing to paste. Look at the masks of the round "
                "before (folder round-0 in the run), widen classifier.augment.share, or change what makes the masks"
            )
        return Bank(self, data, masks, {k: tuple(instances) for k, instances in found.items()})


def find_instance(mask: NDArray[np.uint8], share: tuple[float, float]) -> tuple[int, tuple[int, int, int, int]] | None:
    """Class and tight box of the object in a mask that holds one class only, at a size within ``share``; else None.

    Args:
        mask: (H, W): 0 background, k + 1 for class k, 255 ignore.
        share: smallest and greatest share of the image that the object covers, both allowed.
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
    """Objects to paste: where they are, not their pixels, which are read when one is pasted."""

    settings: Cda
    data: Dataset
    masks: Callable[[int], NDArray[np.uint8]]
    instances: Mapping[int, tuple[Instance, ...]]
    """Per class index; empty for a class that no mask shows alone."""

    @property
    def counts(self) -> dict[str, int]:
        """How many objects there are of each class."""
        return {name: len(self.instances[k]) for k, name in enumerate(self.data.classes)}

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The image with an object of a class that it is not tagged with, and the tag; itself where none is left.

        The class is uniform among those that have an object, the object among the class's, its angle, scale and place
        within their ranges. What was true of the image's pixels no longer is: ``mask`` and ``context`` become None.
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
        """The object as RGBA, opaque where the mask says class ``k``."""
        top, left, bottom, right = instance.box
        colours = self.data[instance.index].image[top:bottom, left:right]
        inside = self.masks(instance.index)[top:bottom, left:right] == k + 1
        return Image.fromarray(np.dstack([colours, np.where(inside, 255, 0).astype(np.uint8)]))


def turned(cutting: Image.Image, angle: float) -> Image.Image:
    """An RGBA object turned counter-clockwise by ``angle`` degrees, on the larger canvas that holds its turned box."""
    return cutting.rotate(angle, Image.Resampling.BILINEAR, expand=True)


def tight(cutting: Image.Image) -> Image.Image:
    """The tight box around an RGBA object."""
    return cutting.crop(cutting.getchannel("A").getbbox())


def resized(cutting: Image.Image, factor: float, size: tuple[int, int], largest: float) -> Image.Image:
    """An RGBA canvas resized by ``factor``, or less where it would exceed ``largest`` times the sides (H, W).

    As in the published code the limit is on the canvas of the turned object, not on the object: a disc 200 pixels wide,
    turned by 45 degrees, comes out 148 wide on an image of 300 x 300.
    """
    width, height = cutting.size
    factor = min(factor, largest * size[0] / height, largest * size[1] / width)
    wanted = (max(1, int(width * factor)), max(1, int(height * factor)))
    return cutting if wanted == cutting.size else cutting.resize(wanted, Image.Resampling.BILINEAR)


def faded(cutting: Image.Image, blur: float) -> Image.Image:
    """An RGBA object whose edge fades inwards over about ``blur`` pixels: nothing beyond its mask is ever shown."""
    if blur == 0:
        return cutting
    border = int(np.ceil(3 * blur))
    around = ImageOps.expand(cutting.getchannel("A"), border).filter(ImageFilter.GaussianBlur(blur))
    soft = np.asarray(ImageOps.crop(around, border), dtype=np.int16)
    pixels = np.array(cutting)
    pixels[..., 3] = np.minimum(pixels[..., 3], np.clip(2 * soft - 255, 0, 255)).astype(np.uint8)
    return Image.fromarray(pixels)
