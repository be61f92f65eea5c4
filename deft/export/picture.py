"""What the writer of a format gets of each image, and what it has to offer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE, InputError
from deft.data.layouts.photographs import IGNORED
from deft.export.shapes import Shape, pixel_shapes, polygon_shapes

TRAIN, VAL = "train", "val"
POLYGONS, MASKS = SHAPES = ("polygons", "masks")


@dataclass(frozen=True)
class Place:
    """Where an image belongs."""

    stem: str
    """Its name as a path without suffix, ``/`` between folders, of characters that any disk takes."""
    suffix: str
    """Of its file, with the dot."""
    part: str
    """``train`` or ``val``."""

    @property
    def file(self) -> str:
        """Its file, below the folder of images."""
        return self.stem + self.suffix


@dataclass(frozen=True, eq=False)
class Picture:
    """An image with its mask."""

    place: Place
    mask: NDArray[np.uint8]
    """(H, W), upright: 0 background, k + 1 for class k, 255 ignore."""
    tags: tuple[str, ...] = ()
    """Classes that the image is known to show."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.mask.shape[0], self.mask.shape[1]


@dataclass(frozen=True)
class Style:
    """The classes, and how regions are written where a format leaves the choice."""

    classes: tuple[str, ...]
    """Names of the K classes."""
    shapes: str = ""
    """``polygons`` or ``masks``; empty for what is usual in the format."""
    tolerance: float = 1.0
    """How far a polygon may be from the edges of pixels, in pixels."""

    def name(self, value: int) -> str:
        """Name of a mask value other than background."""
        return IGNORED if value == IGNORE else self.classes[value - 1]

    def refuse_polygons(self, form: str) -> None:
        """Raise InputError if polygons were asked for, in a format that has none."""
        if self.shapes == POLYGONS:
            raise InputError(f"--shapes polygons: {form} holds masks alone; leave the option out")

    def shapes_of(self, picture: Picture, usual: str = POLYGONS, *, cut: bool = False) -> Sequence[Shape]:
        """The regions of a picture; ``cut`` as for :func:`deft.export.shapes.polygon_shapes`."""
        if (self.shapes or usual) == MASKS:
            return pixel_shapes(picture.mask)
        return polygon_shapes(picture.mask, self.tolerance, cut=cut)


class Writer(Protocol):
    """Writes one format; made for each export."""

    def image(self, place: Place) -> str:
        """Path of an image's file in the export."""

    def beside(self, place: Place) -> Sequence[str]:
        """Paths of the other files of an image."""

    def whole(self, parts: Collection[str]) -> Sequence[str]:
        """Paths of the files that all images share, if there are images of these parts."""

    def add(self, picture: Picture) -> Mapping[str, bytes]:
        """Contents of the other files of an image."""

    def finish(self) -> Mapping[str, bytes]:
        """Contents of the files that all images share, when all were added."""
