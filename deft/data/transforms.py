"""Training crops: resize, flip, jitter and crop one image and its mask, as pure functions of (image, generator).

PSA (Ahn and Kwak, CVPR 2018), IRN (Ahn et al., CVPR 2019, arXiv:1904.05044) and the methods built on them pad a crop
with zeros *after* normalising, which is the mean colour before normalising: hence ``fill``. The whole image is resized
before it is cropped: torch resizes 8-bit pixels so fast (to Pillow's values, within a grey level or two) that resizing
only the visible part would cost more than it saves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import Tensor

from deft.contracts import IGNORE


@dataclass(frozen=True)
class TrainCrop:
    """A random square of a randomly resized image."""

    crop: int
    """Side of the square, in pixels."""
    long_side: tuple[int, int] | None = None
    """Resize so that the long side is uniform in this closed range, in pixels; IRN: (320, 640) for crops of 512."""
    scale: tuple[float, float] | None = None
    """Resize by a factor uniform in this range (after ``long_side`` if both are given); IRN's net: (0.5, 1.5)."""
    flip: bool = True
    """Mirror an image with probability 0.5."""
    jitter: float = 0.0
    """Brightness, contrast and saturation vary by this share, hue by a third of it; PSA 0.3 (hue 0.1)."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        low_side, high_side = self.long_side or (1, 1)
        low, high = self.scale or (1.0, 1.0)
        if self.crop < 1 or not 1 <= low_side <= high_side or not 0 < low <= high or not 0 <= self.jitter <= 1:
            raise ValueError(
                f"expected crop >= 1, 1 <= long_side[0] <= long_side[1], 0 < scale[0] <= scale[1], 0 <= jitter <= 1, "
                f"got {self}; correct the field that is out of range"
            )

    def __call__(
        self,
        image: NDArray[np.uint8],
        mask: NDArray[np.uint8] | None,
        fill: tuple[int, int, int],
        rng: np.random.Generator,
    ) -> tuple[Tensor, Tensor | None]:
        """Cut one crop.

        Args:
            image: RGB, uint8 (H, W, 3).
            mask: uint8 (H, W), or None.
            fill: colour outside the image, 0 to 255.
            rng: the only source of randomness; the same numbers are drawn with and without a mask.

        Returns:
            image uint8 (3, crop, crop), and mask int64 (crop, crop) with 255 outside the image, or None.
        """
        if mask is not None and mask.shape != image.shape[:2]:
            raise ValueError(f"mask {mask.shape} and image {image.shape[:2]} differ in size; give both at full size")
        size = self._size(image.shape[0], image.shape[1], rng)
        rows, columns = _window(size[0], self.crop, rng), _window(size[1], self.crop, rng)
        mirror = self.flip and bool(rng.random() < 0.5)
        part = resized(image, size)[:, rows.seen, columns.seen]
        if self.jitter:
            colours = Image.fromarray(np.ascontiguousarray(part.permute(1, 2, 0).numpy()))
            part = to_tensor(np.array(jitter_colours(colours, self.jitter, rng)))
        square = torch.tensor(fill, dtype=torch.uint8).view(3, 1, 1).repeat(1, self.crop, self.crop)
        _place(square.numpy(), part.numpy(), rows, columns, mirror)
        if mask is None:
            return square, None
        values = np.full((self.crop, self.crop), IGNORE, dtype=np.int64)
        nearest = np.ix_(_nearest(rows, size[0], mask.shape[0]), _nearest(columns, size[1], mask.shape[1]))
        _place(values, mask[nearest], rows, columns, mirror)
        return square, torch.from_numpy(values)

    def _size(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        """(H, W) of the resized image, from which the crop is cut."""
        factor = 1.0
        if self.long_side is not None:
            factor = int(rng.integers(self.long_side[0], self.long_side[1], endpoint=True)) / max(height, width)
        if self.scale is not None:
            factor *= float(rng.uniform(*self.scale))
        return max(1, round(height * factor)), max(1, round(width * factor))


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """RGB uint8 (H, W, 3) to uint8 (3, H, W), a copy."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def resized(image: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Resize an image with the bicubic filter that Pillow and the code of PSA and IRN use.

    Args:
        image: RGB, uint8 (H, W, 3).
        size: (H, W) wanted, in pixels.

    Returns:
        uint8 (3, H, W); may share memory with ``image`` if the size does not change.
    """
    planes = torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)
    if planes.shape[1:] == size:
        return planes
    return F.interpolate(planes[None], size=size, mode="bicubic", antialias=True)[0]


def jitter_colours(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Change brightness, contrast and saturation by factors in 1 +- strength, hue by +- strength / 3 of the circle.

    The four changes come in random order, as in PSA.

    Args:
        image: RGB.
        strength: 0 to 1.
        rng: source of randomness.
    """
    factors = rng.uniform(1 - strength, 1 + strength, size=3)
    turn = rng.uniform(-strength, strength) / 3
    for change in rng.permutation(4):
        if change == 3:
            bands = np.array(image.convert("HSV"))
            bands[..., 0] += np.uint8(round(turn * 256) % 256)  # uint8 wraps around, like the circle of hues
            image = Image.fromarray(bands, "HSV").convert("RGB")
        else:
            enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[change]
            image = enhance(image).enhance(float(factors[change]))
    return image


@dataclass(frozen=True)
class _Window:
    """The pixels of the resized image that are visible in a crop, along one axis."""

    start: int
    """First visible pixel, in the resized image."""
    offset: int
    """The same pixel, in the crop."""
    length: int

    @property
    def seen(self) -> slice:
        """The visible pixels, in the resized image."""
        return slice(self.start, self.start + self.length)

    @property
    def place(self) -> slice:
        """The visible pixels, in the crop."""
        return slice(self.offset, self.offset + self.length)


def _window(size: int, crop: int, rng: np.random.Generator) -> _Window:
    """A random window: the crop within a longer image, or a shorter image within the crop."""
    shift = int(rng.integers(0, abs(size - crop), endpoint=True))
    return _Window(shift, 0, crop) if size >= crop else _Window(0, shift, size)


def _nearest(window: _Window, size: int, source: int) -> NDArray[np.intp]:
    """The source pixel under the centre of each visible pixel, in integers: ties do not depend on the window."""
    seen = np.arange(window.start, window.start + window.length, dtype=np.intp)
    return (2 * seen + 1) * source // (2 * size)


def _place(
    canvas: NDArray[np.uint8] | NDArray[np.int64],
    part: NDArray[np.uint8],
    rows: _Window,
    columns: _Window,
    mirror: bool,
) -> None:
    """Write ``part`` into ``canvas`` (..., H, W) at its windows, mirrored with the whole crop if asked for."""
    target = canvas[..., ::-1] if mirror else canvas
    target[..., rows.place, columns.place] = part
