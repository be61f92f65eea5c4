"""Backdrops of the scenes: grass, water or road up to a horizon, and the sky above it.

The camera looks over a plane: below the horizon a texture is read at (x / depth, 1 / depth), so tufts, ripples and
lane markings shrink with distance. Textures are sums of smooth noise, seeded separately for every image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.contracts import IGNORE

Floats = NDArray[np.float32]

GROUNDS = ("grass", "water", "road")
CONTEXTS = (*GROUNDS, "sky")
TILE = 160
"""Side of a noise tile, samples."""


def noise(rng: np.random.Generator, *cells: tuple[int, int]) -> Floats:
    """Smooth tileable noise, (TILE, TILE), about 1 strong: one octave per grid of (rows, columns), halving."""
    total = np.zeros((TILE, TILE), np.float32)
    for octave, (rows, columns) in enumerate(cells):
        grid = np.pad(rng.random((rows, columns), np.float32) * 2 - 1, 2, mode="wrap")
        inner = (2, 2, 2 + columns, 2 + rows)
        total += 0.5**octave * np.asarray(Image.fromarray(grid).resize((TILE, TILE), Image.Resampling.BICUBIC, inner))
    return total


def backdrop(ground: int, horizon: float, size: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.uint8]]:
    """Paint ground, sky and hills.

    Args:
        ground: index into ``GROUNDS``.
        horizon: share of the height above the horizon; at or below 0 there is no sky.
        size: side of the square image, pixels.
        rng: the source of randomness.

    Returns:
        RGB float (size, size, 3) in about 0..255, and the context mask (size, size): j + 1 for ``CONTEXTS[j]``, 255
        for hills.
    """
    rows: Floats = (np.arange(size, dtype=np.float32) + 0.5) / np.float32(size)
    columns: Floats = rows - np.float32(0.5)
    near: Floats = np.clip((rows - horizon) / (1.0 - horizon), 0.02, 1.0)  # 0 at the horizon, 1 at the bottom
    across: Floats = columns[None, :] / near[:, None]
    away: Floats = np.broadcast_to(1.0 / near[:, None], across.shape)
    canvas = (_grass, _water, _road)[ground](across, away, rng)
    haze = np.array([206, 216, 224], np.float32)
    fade = (0.45 * np.exp(-7.0 * near))[:, None, None] if horizon > 0 else np.zeros((size, 1, 1), np.float32)
    canvas += fade * (haze - canvas)
    context = np.full((size, size), ground + 1, np.uint8)
    if horizon > 0:
        above = rows < horizon
        canvas[above] = _sky(rows[above] / np.float32(horizon), columns, rng)
        context[above] = CONTEXTS.index("sky") + 1
        wave = sum(rng.uniform(0.2, 1.0) / n * np.sin(n * 5.0 * columns + rng.uniform(0, 6.3)) for n in (1, 2, 3))
        top = horizon * (1.0 - np.clip(0.22 + 0.16 * np.asarray(wave), 0.0, 0.5))
        cover = np.clip((rows[:, None] - top[None, :]) * size + 0.5, 0, 1) * above[:, None]
        hue = np.array(((86, 116, 92), (110, 128, 142), (122, 132, 104))[int(rng.integers(3))], np.float32)
        canvas += cover[..., None].astype(np.float32) * (hue - canvas)
        context[cover >= 0.5] = IGNORE
    return canvas, context


def _read(tile: Floats, across: Floats, away: Floats, columns: float, rows: float) -> Floats:
    """Texture values at plane coordinates, the tile repeated ``columns`` and ``rows`` times per unit."""
    u = (across * (columns * TILE)).astype(np.int32) % TILE
    v = (away * (rows * TILE)).astype(np.int32) % TILE
    return np.asarray(tile[v, u])


def _grass(across: Floats, away: Floats, rng: np.random.Generator) -> Floats:
    """Tufts over patches, from spring green to dry yellow."""
    patches = _read(noise(rng, (7, 7), (18, 18)), across, away, 0.45, 0.35)
    blades = _read(noise(rng, (32, 96), (80, 160)), across, away, 0.9, 0.9)
    dry = np.clip(rng.uniform(0.0, 0.6) + 0.35 * patches, 0, 1)[..., None]
    green, straw = np.array([74, 124, 52], np.float32), np.array([170, 158, 82], np.float32)
    shade = rng.uniform(0.78, 1.18) * (1.0 + 0.12 * patches + 0.22 * blades)
    return np.asarray((green + dry * (straw - green)) * shade[..., None])


def _water(across: Floats, away: Floats, rng: np.random.Generator) -> Floats:
    """Ripples and a few glints, from deep blue to grey green."""
    swell = _read(noise(rng, (10, 5), (28, 9)), across, away, 0.4, 0.4)
    ripple = _read(noise(rng, (64, 12), (128, 28)), across, away, 0.5, 0.6)
    deep, pale = np.array([34, 84, 122], np.float32), np.array([112, 168, 176], np.float32)
    if rng.random() < 0.4:
        deep, pale = np.array([52, 92, 92], np.float32), np.array([150, 170, 160], np.float32)
    level = np.clip(rng.uniform(0.15, 0.6) + 0.22 * swell + 0.30 * ripple, 0, 1.3)[..., None]
    glints = np.clip(4.0 * (ripple - 0.62), 0, 1)[..., None] * rng.uniform(0.0, 0.7)
    colour = deep + level * (pale - deep)
    return np.asarray(colour + glints * (245 - colour))


def _road(across: Floats, away: Floats, rng: np.random.Generator) -> Floats:
    """Asphalt with grain, worn patches and, in most images, lane markings."""
    grain = _read(noise(rng, (160, 160)), across, away, 1.0, 1.0)
    worn = _read(noise(rng, (5, 9), (24, 24)), across, away, 0.4, 0.4)
    base = np.array([116, 114, 112], np.float32) * rng.uniform(0.70, 1.25) + rng.uniform(-7, 7, 3).astype(np.float32)
    colour: Floats = base * (1.0 + 0.12 * grain + 0.09 * worn)[..., None]
    if rng.random() < 0.8:
        turn = rng.uniform(-0.5, 0.5)
        side = across - rng.uniform(-0.3, 0.3) - turn * (away - 1.0)
        dashes = (np.abs(side) < 0.035) & ((away * rng.uniform(1.0, 1.8) + rng.uniform()) % 1.0 < 0.55)
        edges = np.abs(np.abs(side) - rng.uniform(0.8, 1.1)) < 0.035
        paint = np.array([228, 226, 214] if rng.random() < 0.7 else [226, 188, 84], np.float32)
        lines = dashes | edges
        colour[lines] += 0.75 * (paint - colour[lines])
    return colour


def _sky(height: Floats, columns: Floats, rng: np.random.Generator) -> Floats:
    """Sky, (rows, columns, 3); ``height`` runs from 0 at the top to 1 at the horizon."""
    zenith = np.array(
        ((74, 132, 200), (120, 156, 196), (150, 158, 168), (116, 118, 168))[int(rng.integers(4))], np.float32
    )
    low = np.array(((206, 224, 236), (236, 216, 190), (206, 208, 210))[int(rng.integers(3))], np.float32)
    sky = zenith + height[:, None, None] * (low - zenith)
    tile = noise(rng, (8, 5), (20, 12), (48, 30))
    cover = tile[np.ix_((height * 90).astype(int) % TILE, ((columns + 0.5) * 180).astype(int) % TILE)]
    cloud = np.clip(1.6 * (cover - rng.uniform(0.0, 0.8)), 0, 0.85)[..., None]
    return np.asarray(sky + cloud * (248 - sky))


def light(size: int, rng: np.random.Generator) -> Floats:
    """Factors (size, size, 3) of exposure, tint and a gradient, by which an image is multiplied."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    level = rng.uniform(0.82, 1.12)
    down, along = (level * rng.uniform(-0.14, 0.14) * line for _ in range(2))
    warmth = rng.uniform(-0.06, 0.06)
    tint = np.array([1.0 + warmth, 1.0, 1.0 - warmth], np.float32)
    return np.asarray((level + down[:, None] + along)[..., None] * tint)
