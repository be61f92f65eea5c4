"""Features of a frozen backbone, computed once for each image, stored in 16 bits and learned from.

A file holds the feature map of one image, looked at with ``frozen.side`` pixels on its longer side, and the affinities
of neighbouring cells. Files are named after the contents of their images: tags, masks and names may change, and no
image is looked at twice.

Shapes: map (C, h, w), affinities (D, h, w) for the D directions of a radius.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from deft.artifacts import load_mask, load_tensors, save_tensors, told_damaged
from deft.backbone import Backbone, Look, Views, frozen_net, with_views
from deft.contracts import IGNORE, Dataset, InputError, Sample
from deft.data.scaling import FILTER, resized_mask
from deft.engine.precision import EXACT, autocast
from deft.guards.opening import exists
from deft.ranges import Factor, Multiples, Range, check_ranges

KEPT = 500_000_000
"""Bytes of what a head learns from that are kept in memory while it trains; the rest is read again each time."""
Affinities = Callable[[Look, int], Tensor]
"""Function of what was found in one image and of a radius that returns affinities (D, h, w) in [0, 1]."""


@dataclass(frozen=True)
class Frozen:
    """How a backbone that is not trained looks at images, and how much of what it finds may be stored."""

    side: Annotated[int, Range(32, 4096)] = 320
    """Long side, in pixels, to which images are resized before they are looked at, whatever their size."""
    scales: Multiples = (1.5,)
    """Factors by which that is resized; the features of all views are averaged."""
    flip: bool = False
    """Average with the features of the mirrored views, which takes twice as long."""
    taps: Annotated[int, Range(1, 64)] = 1
    """How many of the network's feature maps the heads learn from, counted from the deepest."""
    similar: Annotated[int, Range(1, 64)] = 2
    """Which feature map tells how alike neighbouring cells are, counted from the deepest, which is 1; unused where the
    network has self-attention."""
    stride: Annotated[int, Range(4, 32)] = 8
    """Pixels per cell of the stored features."""
    radius: Annotated[int, Range(2, 32)] = 5
    """Greatest distance of two cells whose affinity is stored, in cells (exclusive)."""
    gigabytes: Factor = 20.0
    """Most space that the features of a run may take; what does not fit is refused before anything is computed."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)
        if self.stride % 4:
            raise InputError(f"expected frozen.stride as a multiple of 4, got {self.stride}")

    @property
    def views(self) -> Views:
        """What the backbone needs to know."""
        return Views(self.side, tuple(self.scales), self.flip, self.taps, self.similar, self.stride)

    @property
    def identity(self) -> tuple[object, ...]:
        """What features depend on, for keys; not how much may be stored."""
        return (self.side, self.scales, self.flip, self.taps, self.similar, self.stride, self.radius)

    def on(self, inner: Backbone) -> Backbone:
        """The frozen backbone.

        Raises:
            InputError: it has fewer feature maps than ``taps``.
        """
        return with_views(inner, self.views)

    def bytes_of(self, backbone: Backbone, images: int) -> int:
        """Bytes that the features of so many square images take."""
        cells = (-(-self.side // self.stride)) ** 2
        directions = 2 * self.radius**2  # about pi / 2 radius^2
        return images * 2 * cells * (backbone.channels[-1] + directions)


@dataclass(frozen=True)
class Features:
    """What a frozen backbone finds in an image."""

    deep: Tensor
    """The backbone's feature map before its channels are standardised, (C, h, w)."""
    affinity: Tensor | None = None
    """Affinity of each cell and its neighbour in the D directions of a radius, (D, h', w') in [0, 1]; None if it was
    not asked for. Entries without a neighbour are 0."""


def seen_size(size: tuple[int, int], side: float, stride: int) -> tuple[int, int]:
    """(H, W) at which an image is looked at: multiples of the stride, at least two, with a long side of about ``side``.

    >>> seen_size((213, 320), 320, 8)
    (216, 320)
    """
    factor = side / max(size)
    height, width = (max(2, round(length * factor / stride)) * stride for length in size)
    return height, width


def seen_pixels(image: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """An RGB image (H, W, 3) resized, as uint8 (3, h, w)."""
    small = np.asarray(Image.fromarray(image).resize((size[1], size[0]), FILTER))
    return torch.from_numpy(small.transpose(2, 0, 1).copy())


def find_features(
    backbone: Backbone,
    image: NDArray[np.uint8],
    precision: str = EXACT,
    affinities: Affinities | None = None,
    radius: int = 0,
) -> Features:
    """What a frozen backbone finds in an image (H, W, 3).

    Args:
        backbone: made by :meth:`Frozen.on`, in eval mode; its device is used.
        image: RGB uint8.
        precision: precision of the network; the result is float32.
        affinities: makes affinities of neighbouring cells; None leaves them out.
        radius: of the affinities.

    Raises:
        InputError: the backbone is not frozen.
    """
    net = frozen_net(backbone)
    views = net.views
    size = seen_size((image.shape[0], image.shape[1]), views.side, views.stride)
    device = backbone.mean.device
    pixels = seen_pixels(image, size)[None].to(device).contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), autocast(precision, device):
        look = net.look(backbone.normalise(pixels))
    found = None if affinities is None else affinities(look, radius)
    return Features(look.deep[0].float(), found)


def standardise(backbone: Backbone, files: Sequence[Path]) -> None:
    """Take mean and deviation of the channels of a frozen backbone from the stored features of the training images."""
    frozen_net(backbone).measure(load_deep(path) for path in files)


def save_features(path: Path, features: Features, made_by: str) -> None:
    """Store features in 16 bits.

    Raises:
        InputError: a value does not fit.
    """
    tensors = {"deep": features.deep.half()}
    if features.affinity is not None:
        tensors["affinity"] = features.affinity.half()
    if any(not one.isfinite().all() for one in tensors.values()):
        raise InputError(
            f"{path.name}: expected features that 16 bits can hold, got some beyond 65504 or not finite; take another "
            "backbone, or --precision 32"
        )
    save_tensors(path, tensors, {"made_by": made_by})


def load_features(path: Path) -> Features:
    """Stored features, float16.

    Raises:
        InputError: the file is missing or damaged.
    """
    tensors, _ = load_tensors(path)
    with told_damaged(path):
        return Features(tensors["deep"], tensors.get("affinity"))


def load_deep(path: Path) -> Tensor:
    """The stored feature map alone, float16 (C, h, w).

    Raises:
        InputError: the file is missing or damaged.
    """
    tensors, _ = load_tensors(path, only=("deep",))
    with told_damaged(path):
        return tensors["deep"]


class _Memory:
    """What was made of images, as long as there is room for it.

    Args:
        room: bytes of the arrays that are kept.
    """

    def __init__(self, room: int) -> None:
        self._kept: dict[int, NDArray[Any]] = {}
        self._room = room

    def get(self, index: int, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What was made of an image, made again if there was no room for it."""
        found = self._kept.get(index)
        if found is None:
            found = make()
            self._room -= found.nbytes
            if self._room >= 0:
                self._kept[index] = found
        return found


class TaggedFeatures:
    """Stored features with tags, for the head of a classifier.

    Args:
        data: the training images.
        files: features of each image.
        cells: side of a square grid over whose cells features are averaged: images of all shapes make a batch.
    """

    def __init__(self, data: Dataset, files: Sequence[Path], cells: int) -> None:
        self.data, self.files, self.cells = data, files, cells
        self._squares = _Memory(KEPT)

    def __len__(self) -> int:
        return len(self.data)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """``features`` float16 (C, cells, cells), and ``labels`` float (K,)."""

        def square() -> NDArray[np.float16]:
            deep = load_deep(self.files[index]).float()
            found: NDArray[np.float16] = F.adaptive_avg_pool2d(deep, self.cells).half().numpy()
            return found

        features = torch.from_numpy(self._squares.get(index, square))
        return {"features": features, "labels": torch.from_numpy(self.data.labels[index].astype(np.float32))}

    def name(self, index: int) -> str:
        """Name of the image."""
        return self.data.names[index]


@dataclass(frozen=True)
class MaskedFeatures:
    """Stored features with masks, for a segmentation network whose backbone is frozen."""

    data: Dataset
    files: Sequence[Path]
    masks: Sequence[Path]
    """One PNG per image."""
    views: Views
    crop: int
    """Side of the crop, in cells."""
    indices: tuple[int, ...]
    """The images to train on."""
    _scaled: _Memory = field(default_factory=lambda: _Memory(KEPT), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.indices)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """``deep`` float16 (C, h, w) of a crop, zero outside the image, and ``mask`` int64 (H, W), 255 there."""
        index = self.indices[index]
        deep, stride = load_deep(self.files[index]), self.views.stride
        height, width = deep.shape[1:]
        size = height * stride, width * stride
        mask = self._scaled.get(index, lambda: resized_mask(load_mask(self.masks[index]), size))
        rows, columns = (_part(length, min(length, self.crop), rng) for length in (height, width))
        mirror = bool(rng.random() < 0.5)
        part = deep[:, rows, columns]
        whole = part.new_zeros(len(deep), self.crop, self.crop)
        whole[:, : part.shape[1], : part.shape[2]] = part.flip(-1) if mirror else part
        target = np.full((self.crop * stride, self.crop * stride), IGNORE, dtype=np.int64)
        seen = mask[_times(rows, stride), _times(columns, stride)]
        target[: seen.shape[0], : seen.shape[1]] = seen[:, ::-1] if mirror else seen
        return {"deep": whole, "mask": torch.from_numpy(target)}

    def name(self, index: int) -> str:
        """Name of the image."""
        return self.data.names[self.indices[index]]


Stored = Callable[[Sample], Features | None]
"""Function that returns the stored features of an image of the run; None for another image."""


class FeatureFiles:
    """Where the features of a run's images lie.

    Args:
        folder: of the files.
        parts: the splits by name.
        stems: function that names the file of each image of a split.
    """

    def __init__(
        self, folder: Path, parts: Sequence[tuple[str, Dataset]], stems: Callable[[Dataset], list[str]]
    ) -> None:
        self._parts = {part: [folder / f"{stem}.safetensors" for stem in stems(data)] for part, data in parts}
        # A name that both splits have stands for neither.
        counts = Counter(name for _, data in parts for name in data.names)
        self._by_name = {
            name: path
            for part, data in parts
            for name, path in zip(data.names, self._parts[part], strict=True)
            if counts[name] == 1
        }

    def of(self, part: str) -> list[Path]:
        """The file of each image of a split."""
        return self._parts[part]

    @property
    def every(self) -> list[Path]:
        """All files; images of equal contents share one."""
        return sorted({path for paths in self._parts.values() for path in paths})

    def stored(self, sample: Sample) -> Features | None:
        """The features of an image, by its name; None of one that the run does not have."""
        path = self._by_name.get(sample.name)
        return load_features(path) if path is not None and exists(path) else None


def _part(length: int, wanted: int, rng: np.random.Generator) -> slice:
    start = int(rng.integers(0, length - wanted, endpoint=True))
    return slice(start, start + wanted)


def _times(cells: slice, factor: int) -> slice:
    return slice(cells.start * factor, cells.stop * factor)
