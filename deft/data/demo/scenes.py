"""Scenes: objects of a few classes placed on grass, water or road, drawn with their exact masks.

A scene is laid out first (cheap, and sufficient for all labels) and drawn later, at any size. Objects are drawn at
three times the size and downsampled by averaging, which smooths their edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from deft.contracts import IGNORE
from deft.data.demo.backdrops import GROUNDS, Floats, backdrop, light
from deft.data.demo.silhouettes import SHAPES, Part, Points, Silhouette, smooth, strip

CLASSES = tuple(SHAPES)
HOME = {"cow": "grass", "sheep": "grass", "duck": "water", "boat": "water", "car": "road", "bus": "road"}
"""Usual ground of each class: two classes share each ground, so the ground alone does not determine the class."""

SUPERSAMPLE = 3
TONES = ("body", "second", "shade", "dark", "glass")
PALETTE = (
    (238, 234, 226), (62, 56, 54), (124, 82, 52), (186, 146, 100), (198, 58, 48), (232, 128, 52), (240, 200, 84),
    (92, 142, 84), (64, 128, 152), (58, 84, 156), (128, 92, 150), (214, 142, 156), (142, 146, 150),
)  # fmt: skip
"""RGB of bodies and patterns, shared by all classes."""


@dataclass(frozen=True)
class Placed:
    """One object or piece of clutter in a scene; positions and lengths are shares of the image side."""

    kind: int
    """Class index, or -1 for clutter (a bush, rock or post), which counts as background."""
    x: float
    """Horizontal centre."""
    y: float
    """Bottom edge, measured from the top; the larger, the nearer to the camera."""
    length: float
    flip: bool
    tilt: float
    """Degrees."""


@dataclass(frozen=True)
class Scene:
    """Everything that determines an image except its size."""

    ground: int
    """Index into ``GROUNDS``."""
    horizon: float
    """Share of the height above the horizon; at or below 0 there is no sky."""
    things: tuple[Placed, ...]
    """Objects and clutter, from far to near."""
    key: tuple[int, ...]
    """Random seed of colours, poses and textures."""

    @property
    def objects(self) -> tuple[Placed, ...]:
        """The things that are not clutter."""
        return tuple(thing for thing in self.things if thing.kind >= 0)

    @property
    def usual(self) -> tuple[bool, ...]:
        """Whether each object is on the usual ground of its class."""
        return tuple(HOME[CLASSES[thing.kind]] == GROUNDS[self.ground] for thing in self.objects)


def lay_out(key: tuple[int, ...], bias: float) -> Scene:
    """Choose ground, view, objects and their positions.

    Args:
        key: non-negative integers; the same key gives the same scene.
        bias: probability that an object is in its usual context; otherwise its class is drawn from the others.

    Returns:
        A scene of one to three objects; each ground and each class is equally likely.
    """
    rng = np.random.default_rng((*key, 0))
    ground = int(rng.integers(len(GROUNDS)))
    local = [index for index, name in enumerate(CLASSES) if HOME[name] == GROUNDS[ground]]
    foreign = [index for index in range(len(CLASSES)) if index not in local]
    horizon = rng.uniform(0.16, 0.42) if rng.random() < 0.65 else rng.uniform(-0.9, -0.3)
    count = int(rng.choice([1, 2, 3], p=[0.55, 0.33, 0.12]))
    longest = (0.90, 0.58, 0.44)[count - 1]
    things = []
    for slot in range(count):
        kind = int(rng.choice(local if rng.random() < bias else foreign))
        length = longest * rng.uniform(0.72, 1.0)
        x = (slot + 0.5 + rng.uniform(-0.12, 0.12)) / count
        y = rng.uniform(max(horizon + 0.22, 0.62 * length + 0.08, 0.45), 0.95)
        things.append(Placed(kind, x, y, length, bool(rng.random() < 0.5), float(rng.normal(0.0, 5.0))))
    for _ in range(int(rng.integers(0, 3))):
        x, y = rng.uniform(0.02, 0.98), rng.uniform(max(horizon + 0.08, 0.10), 1.02)
        things.append(Placed(-1, x, y, rng.uniform(0.08, 0.22), bool(rng.random() < 0.5), 0.0))
    return Scene(ground, horizon, tuple(sorted(things, key=lambda thing: thing.y)), key)


def draw(scene: Scene, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a scene.

    Args:
        scene: the scene to draw.
        size: side of the square image, pixels.

    Returns:
        image RGB (size, size, 3); mask (size, size), 0 background, k + 1 for class k; context (size, size), 0 object,
        j + 1 for ``CONTEXTS[j]``, 255 for hills and clutter.
    """
    rng = np.random.default_rng((*scene.key, 1))
    canvas, context = backdrop(scene.ground, scene.horizon, size, rng)
    mask = np.zeros((size, size), np.uint8)
    for thing in scene.things:
        shape = SHAPES[CLASSES[thing.kind]](rng) if thing.kind >= 0 else _clutter(rng)
        _shadow(canvas, thing)
        covered = _paint(canvas, thing, shape, rng)
        mask[covered] = thing.kind + 1
        context[covered] = 0 if thing.kind >= 0 else IGNORE
    canvas *= light(size, rng)
    canvas += 4.0 * rng.standard_normal(canvas.shape, np.float32)
    return np.clip(canvas, 0, 255).astype(np.uint8), mask, context


def _clutter(rng: np.random.Generator) -> Silhouette:
    """A bush, rock or post in the colours of objects, so that colour alone does not identify an object."""
    if rng.random() < 0.3:
        return (Part(strip([(0.0, 0.0), (rng.uniform(-0.1, 0.1), 1.9)], [0.35, 0.28]), "body"),)
    angle = np.linspace(0.0, 2.0 * np.pi, 9, endpoint=False)
    radius = rng.uniform(0.6, 1.0, 9)
    height = rng.uniform(0.5, 1.1)
    blob = np.stack([radius * np.cos(angle), np.maximum(0.5 * height * (1 + radius * np.sin(angle)), 0.0)], axis=1)
    return (Part(smooth(blob), "body"),)


def _shadow(canvas: Floats, thing: Placed) -> None:
    """Darken the ground under a thing, in place."""
    size = len(canvas)
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    columns = slice(*np.searchsorted(line, [thing.x - 0.7 * thing.length, thing.x + 0.7 * thing.length]))
    rows = slice(*np.searchsorted(line, [thing.y - 0.18 * thing.length, thing.y + 0.18 * thing.length]))
    wide = np.exp(-(((line[columns] - thing.x) / (0.42 * thing.length)) ** 4))
    deep = np.exp(-(((line[rows] - thing.y) / (0.07 * thing.length)) ** 2))
    canvas[rows, columns] *= (1.0 - 0.42 * deep[:, None] * wide[None, :])[..., None]


def _colours(rng: np.random.Generator) -> NDArray[np.uint8]:
    """RGBA of each tone, (7, 4): 0 is empty, 1 to 5 are ``TONES``, 6 is the pattern on the body."""
    first, second, third = (np.array(PALETTE[index]) for index in rng.choice(len(PALETTE), 3, replace=False))
    body = first * rng.uniform(0.8, 1.1)
    dark, glass = np.full(3, rng.uniform(18, 60)), np.array([150, 186, 204]) * rng.uniform(0.45, 1.1)
    tones = np.stack([np.zeros(3), body, second, 0.72 * body, dark, glass, third])
    return np.concatenate([np.clip(tones, 0, 255), [[0]] + [[255]] * 6], axis=1).astype(np.uint8)


def _paint(canvas: Floats, thing: Placed, shape: Silhouette, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a thing onto the canvas, in place; returns the pixels it covers at least half, (size, size)."""
    size = len(canvas)
    scale = 0.5 * thing.length * size
    placed = [_place(part.points, thing) * scale + [thing.x * size, thing.y * size] for part in shape]
    every = np.concatenate(placed)
    left, top = np.maximum(np.floor(every.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(every.max(axis=0)).astype(int) + 1, size)
    colours, pattern = _colours(rng), _pattern(rng)
    covered = np.zeros((size, size), np.bool_)
    if right <= left or bottom <= top:
        return covered
    tones = Image.new("L", ((right - left) * SUPERSAMPLE, (bottom - top) * SUPERSAMPLE))
    pen = ImageDraw.Draw(tones)
    for part, points in zip(shape, placed, strict=True):
        corners = (points - [left, top]) * SUPERSAMPLE
        pen.polygon(corners.ravel().tolist(), fill=1 + TONES.index(part.tone))
    indices = np.array(tones)
    if pattern is not None:
        patch = np.asarray(pattern.resize(tones.size, Image.Resampling.NEAREST)) > 0
        indices[(indices == 1) & patch] = 6
    tones = Image.fromarray(indices)
    tones.putpalette(colours.tobytes(), "RGBA")
    fine = tones.convert("RGBA")
    # Colour is 0 where alpha is 0, so it is premultiplied already and the four channels can be averaged separately.
    layer = np.asarray(Image.merge("RGBX", fine.split()).reduce(SUPERSAMPLE), dtype=np.float32)
    alpha = layer[..., 3:] / 255.0
    relief = np.linspace(1.14, 0.80, bottom - top, dtype=np.float32)[:, None, None]
    window = canvas[top:bottom, left:right]
    window *= 1.0 - alpha
    window += layer[..., :3] * relief
    covered[top:bottom, left:right] = alpha[..., 0] >= 0.5
    return covered


def _place(points: Points, thing: Placed) -> Points:
    """Flip and tilt points, and point y downwards; units do not change."""
    angle = np.deg2rad(thing.tilt)
    x, y = (-points[:, 0] if thing.flip else points[:, 0]), -points[:, 1]
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=1)


def _pattern(rng: np.random.Generator) -> Image.Image | None:
    """Spots or stripes to be stretched over an object; None for a plain one."""
    choice = rng.random()
    if choice < 0.6:
        return None
    if choice < 0.8:
        spots = np.asarray(Image.fromarray(rng.uniform(-1, 1, (6, 9)).astype(np.float32)).resize((96, 96), 3))
        return Image.fromarray(((spots > rng.uniform(0.1, 0.5)) * 255).astype(np.uint8))
    line = np.linspace(0, 1, 96)
    phase = rng.uniform(5, 12) * line[None, :] + rng.uniform(-5, 5) * line[:, None]
    return Image.fromarray((((phase % 1.0) < rng.uniform(0.3, 0.5)) * 255).astype(np.uint8))
