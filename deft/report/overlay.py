"""Visualisation of masks and seeds: coloured, overlaid on the image, with outlines and a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deft.artifacts import palette as voc_palette
from deft.contracts import BACKGROUND, IGNORE

_NAME_LENGTH = 40


def mask_to_rgb(mask: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """A mask in the colours of its palette.

    Args:
        mask: uint8 (H, W).
        palette: uint8 (256, 3); VOC's if not given.

    Returns:
        RGB (H, W, 3).
    """
    colours = voc_palette() if palette is None else palette
    picture: NDArray[np.uint8] = colours[mask]
    return picture


def contours(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Boundaries between the values of a mask, two pixels wide, (H, W)."""
    edge = np.zeros(mask.shape, dtype=bool)
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def overlay(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    palette: NDArray[np.uint8] | None = None,
    names: Sequence[str] | None = None,
    opacity: float = 0.5,
) -> NDArray[np.uint8]:
    """A mask overlaid on its image, with outlines; the background is unchanged, undecided pixels are pale.

    Args:
        image: RGB, uint8 (H, W, 3).
        mask: uint8 (H, W).
        palette: uint8 (256, 3); VOC's if not given.
        names: the K class names; if given, a legend of the classes in the mask is added below the image.
        opacity: opacity of the colours, in [0, 1].

    Returns:
        RGB (H, W, 3), higher by the legend if there is one.

    Raises:
        ValueError: mask and image differ in size.
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"expected a mask of the image's size {image.shape[:2]}, got {mask.shape}; resize the mask to the image "
            "(nearest neighbour)"
        )
    colours = voc_palette() if palette is None else palette
    photo = image.astype(np.float32)
    weight = np.where(mask == BACKGROUND, 0.0, opacity).astype(np.float32)[..., None]
    mixed = photo * (1 - weight) + colours[mask].astype(np.float32) * weight
    edge = contours(mask)
    mixed[edge] = colours[mask[edge]].astype(np.float32) * 0.5 + 127.5
    picture = mixed.round().astype(np.uint8)
    if names is None:
        return picture
    found = [value for value in np.unique(mask).tolist() if value not in (BACKGROUND, IGNORE)]
    return np.concatenate([picture, legend([_name(names, value) for value in found], colours[found], image.shape[1])])


def seeds_over_image(
    image: NDArray[np.uint8],
    maps: NDArray[np.float32],
    classes: Sequence[int],
    palette: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Seeds in the colours of their classes over the greyscale image, the more opaque the higher their value.

    Args:
        image: RGB, uint8 (H, W, 3).
        maps: float (P, h, w) in [0, 1], any grid; resized to the image.
        classes: the P class indices, 0-based without background.
        palette: uint8 (256, 3); VOC's if not given.

    Returns:
        RGB (H, W, 3).

    Raises:
        ValueError: the numbers of maps and classes differ.
    """
    if len(maps) != len(classes):
        raise ValueError(f"expected one map per class, got {len(maps)} maps for {len(classes)} classes")
    colours = (voc_palette() if palette is None else palette).astype(np.float32)
    canvas = _grey(image)
    score = np.zeros(image.shape[:2], dtype=np.float32)
    colour = np.zeros(image.shape, dtype=np.float32)
    for index, single in zip(classes, maps, strict=True):
        wide = _stretch(single, image.shape[:2])
        higher = wide > score
        score[higher] = wide[higher]
        colour[higher] = colours[index + 1]
    weight = (0.85 * score.clip(0, 1))[..., None]
    lit: NDArray[np.uint8] = (canvas * (1 - weight) + colour * weight).round().astype(np.uint8)
    return lit


def heat_over_image(image: NDArray[np.uint8], score: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One map as a heat map over the greyscale image: transparent, purple, orange, yellow for 0, 1/3, 2/3, 1.

    Args:
        image: RGB, uint8 (H, W, 3).
        score: float (h, w) in [0, 1], any grid; resized to the image.

    Returns:
        RGB (H, W, 3).
    """
    stops = np.array([[30, 20, 60], [135, 30, 110], [235, 110, 40], [255, 235, 120]], dtype=np.float32)
    heat = _stretch(score, image.shape[:2]).clip(0, 1)
    at = heat * (len(stops) - 1)
    low = np.minimum(at.astype(np.intp), len(stops) - 2)
    part = (at - low)[..., None]
    colour = stops[low] * (1 - part) + stops[low + 1] * part
    weight = (0.85 * np.sqrt(heat))[..., None]
    lit: NDArray[np.uint8] = (_grey(image) * (1 - weight) + colour * weight).round().astype(np.uint8)
    return lit


def legend(names: Sequence[str], colours: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """A white strip with a patch of each colour and its name, wrapped to the width.

    Args:
        names: names; each is cut to the width of the strip.
        colours: uint8 (len(names), 3).
        width: width of the strip, in pixels.

    Returns:
        RGB (height, width, 3).
    """
    size = max(11, min(22, width // 26))
    font = ImageFont.load_default(size)
    patch, gap, line = size, size // 2, size + size // 2 + 2
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    places: list[tuple[int, int, str]] = []
    x, y = gap, gap // 2
    for name in names:
        drawn = _fit(name, width - patch - 3 * gap, measure, font)
        wide = patch + gap + round(measure.textlength(drawn, font=font)) + gap
        if x > gap and x + wide > width:
            x, y = gap, y + line
        places.append((x, y, drawn))
        x += wide
    strip = Image.new("RGB", (width, y + line if names else gap), "white")
    draw = ImageDraw.Draw(strip)
    for (x, y, name), colour in zip(places, colours.tolist(), strict=True):
        draw.rectangle((x, y + 2, x + patch - 1, y + patch + 1), fill=tuple(colour), outline=(90, 90, 90))
        draw.text((x + patch + gap // 2, y), name, fill=(30, 30, 30), font=font)
    return np.asarray(strip)


def _fit(name: str, width: int, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    line = "".join(letter if letter.isprintable() else "?" for letter in name)
    length = min(len(line), _NAME_LENGTH)
    while length > 1:
        drawn = line if length == len(line) else line[:length] + "…"
        if draw.textlength(drawn, font=font) <= width:
            return drawn
        length -= 1
    return line[:1]


def _name(names: Sequence[str], value: int) -> str:
    return names[value - 1] if value <= len(names) else f"value {value}"


def _grey(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    light = image.astype(np.float32).mean(axis=2, keepdims=True)
    return np.repeat(light * 0.6 + 40, 3, axis=2).astype(np.float32)


def _stretch(single: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    small = Image.fromarray(np.ascontiguousarray(single, dtype=np.float32))
    return np.asarray(small.resize((size[1], size[0]), Image.Resampling.BILINEAR))
