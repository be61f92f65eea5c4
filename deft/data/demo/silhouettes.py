"""Objects drawn as polygons: six classes that differ only in shape.

All classes share the same colours and patterns; proportions, pose and details vary within a class. Units: an object
faces right, stands on y = 0 (y up) and is about 2 long, x in [-1, 1]; no height exceeds 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Tone = Literal["body", "second", "shade", "dark", "glass"]


@dataclass(frozen=True)
class Part:
    """One polygon of an object."""

    points: Points
    """(P, 2), P >= 3."""
    tone: Tone
    """``body`` has the pattern, ``shade`` is the body in shadow, ``dark`` is for wheels and hooves."""


Silhouette = tuple[Part, ...]
"""Parts from back to front."""


def ellipse(x: float, y: float, rx: float, ry: float, corners: int = 20) -> Points:
    """Ellipse around (x, y), (corners, 2)."""
    angle = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def smooth(points: Points, rounds: int = 2) -> Points:
    """Closed polygon with its corners cut (Chaikin, 1974), (P, 2) -> (P * 2**rounds, 2)."""
    for _ in range(rounds):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1).reshape(-1, 2)
    return points


def strip(line: list[tuple[float, float]], widths: list[float]) -> Points:
    """Polygon along an open line, ``widths`` across at each of its L points, (2 L, 2)."""
    centre = np.array(line)
    along = np.gradient(centre, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.linalg.norm(along, axis=1), 1e-9)[:, None]
    half = 0.5 * np.array(widths)[:, None] * across
    return np.concatenate([centre + half, (centre - half)[::-1]])


def turned(points: Points, around: tuple[float, float], degrees: float) -> Points:
    """Rotate points counter-clockwise."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    pivot = np.array(around)
    return np.asarray((points - pivot) @ matrix + pivot)


def _polygon(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=np.float64)


def _legs(rng: np.random.Generator, places: list[float], top: float, width: float, hoof: float) -> list[Part]:
    """Two pairs of legs, the far one shaded, each mid-step; the last ``hoof`` of a leg is dark."""
    parts = []
    for tone, shift in (("shade", 0.09), ("body", 0.0)):
        for x in places:
            foot = x + shift + rng.uniform(-0.14, 0.14)
            knee = 0.5 * (x + shift + foot) + rng.uniform(-0.03, 0.05)
            line = [(x + shift, top), (knee, 0.45 * top), (foot, 0.0)]
            parts.append(Part(strip(line, [1.5 * width, width, 0.9 * width]), "shade" if tone == "shade" else "body"))
            parts.append(Part(strip([(foot, hoof), (foot, 0.0)], [width, 1.15 * width]), "dark"))
    return parts


def cow(rng: np.random.Generator) -> Silhouette:
    """Boxy body, long head with horns, udder and tail; the head is high, level or grazing."""
    tall = rng.uniform(0.36, 0.46)
    deep = rng.uniform(0.50, 0.60)
    back = tall + deep
    trunk = _polygon(
        (-0.72, back - 0.02), (-0.80, back - 0.25), (-0.72, tall + 0.05), (-0.30, tall + 0.02), (0.10, tall - 0.03),
        (0.50, tall + 0.02), (0.66, tall + 0.22), (0.62, back), (0.20, back - 0.03), (-0.30, back + 0.01),
    )  # fmt: skip
    pivot = (0.52, back - 0.14)
    neck = strip([(0.40, back - 0.18), (0.66, back + 0.06), (0.82, back + 0.16)], [0.46, 0.34, 0.26])
    head = smooth(_polygon(
        (0.72, back + 0.28), (0.86, back + 0.30), (1.16, back + 0.10), (1.20, back - 0.02), (1.08, back - 0.06),
        (0.82, back + 0.04),
    ))  # fmt: skip
    muzzle = ellipse(1.13, back + 0.03, 0.085, 0.085, 12)
    ear = _polygon((0.76, back + 0.26), (0.58, back + 0.26), (0.66, back + 0.18))
    length = rng.uniform(0.12, 0.24)
    horn = _polygon((0.78, back + 0.27), (0.88, back + 0.29), (0.90 + 0.4 * length, back + 0.29 + length))
    eye = ellipse(0.91, back + 0.19, 0.025, 0.025, 8)
    pitch = float(rng.choice([rng.uniform(0, 20), rng.uniform(-35, 0), rng.uniform(-95, -75)]))
    swing = rng.uniform(-0.16, 0.02)
    tail = strip([(-0.74, back - 0.04), (-0.84, back - 0.3), (-0.84 + swing, tall)], [0.07, 0.05, 0.05])
    tuft = ellipse(-0.84 + swing, tall, 0.06, 0.09, 10)
    parts = _legs(rng, [-0.60, 0.46], tall + 0.12, 0.13, 0.09)
    parts += [Part(tail, "shade"), Part(tuft, "dark"), Part(ellipse(-0.36, tall, 0.13, 0.09, 12), "second")]
    parts += [Part(smooth(trunk), "body")]
    head_parts: list[tuple[Points, Tone]] = [
        (neck, "body"), (horn, "second"), (head, "body"), (muzzle, "second"), (ear, "shade"), (eye, "dark"),
    ]  # fmt: skip
    return tuple(parts + [Part(turned(points, pivot, pitch), tone) for points, tone in head_parts])


def sheep(rng: np.random.Generator) -> Silhouette:
    """Woolly body on thin legs, with a small face and a hanging ear."""
    curls = int(rng.integers(9, 14))
    angle = np.linspace(0.0, 2.0 * np.pi, curls * 6, endpoint=False)
    radius = 1.0 + 0.13 * np.abs(np.sin(0.5 * curls * angle + rng.uniform(0, np.pi)))
    y, rx, ry = rng.uniform(0.72, 0.82), rng.uniform(0.60, 0.70), rng.uniform(0.40, 0.47)
    wool = np.stack([rx * radius * np.cos(angle) - 0.08, y + ry * radius * np.sin(angle)], axis=1)
    pitch = float(rng.choice([rng.uniform(-10, 20), rng.uniform(-75, -50)]))
    pivot = (0.45, y + 0.05)
    face = smooth(_polygon((0.52, y + 0.36), (0.74, y + 0.42), (0.98, y + 0.16), (0.92, y + 0.02), (0.58, y + 0.06)))
    ear = strip([(0.60, y + 0.36), (0.50, y + 0.30), (0.44, y + 0.16)], [0.05, 0.12, 0.06])
    cap = ellipse(0.60, y + 0.40, 0.16, 0.11, 12)
    eye = ellipse(0.76, y + 0.27, 0.025, 0.025, 8)
    parts = _legs(rng, [-0.45, 0.28], y - 0.25, 0.085, 0.10)
    parts += [Part(ellipse(-0.80, y + 0.02, 0.12, 0.14, 12), "shade"), Part(wool, "body")]
    tones: list[tuple[Points, Tone]] = [(face, "second"), (ear, "shade"), (cap, "body"), (eye, "dark")]
    return tuple(parts + [Part(turned(points, pivot, pitch), tone) for points, tone in tones])


def duck(rng: np.random.Generator) -> Silhouette:
    """Floating body with a lifted tail, a bent neck (short as a duck's to long as a swan's) and a bill."""
    body = smooth(_polygon(
        (-1.00, rng.uniform(0.50, 0.72)), (-0.80, 0.20), (-0.45, 0.0), (0.35, 0.0), (0.70, 0.22), (0.66, 0.52),
        (0.30, 0.60), (-0.30, 0.56), (-0.70, 0.46),
    ))  # fmt: skip
    long = rng.uniform(0.22, 0.85)
    lean = rng.uniform(-0.10, 0.22)
    crown = (0.58 + lean, 0.58 + long)
    bend = (0.74 + 0.3 * lean, 0.45 + 0.40 * long)
    neck = smooth(strip([(0.42, 0.36), bend, (crown[0] - 0.04, crown[1] - 0.04)], [0.42, 0.22, 0.18]), 1)
    size = rng.uniform(0.16, 0.21)
    head = ellipse(*crown, 1.15 * size, size)
    x, y = crown[0] + size, crown[1]
    bill = _polygon((x, y + 0.08), (x + rng.uniform(0.20, 0.32), y - 0.04), (x, y - 0.09))
    wing = smooth(_polygon((-0.72, 0.50), (-0.30, 0.20), (0.25, 0.20), (0.38, 0.42), (-0.05, 0.52)))
    ring = strip([(crown[0] - 0.10, crown[1] - size - 0.02), (crown[0] + 0.18, crown[1] - size - 0.02)], [0.06, 0.06])
    parts = [Part(bill, "second"), Part(body, "body"), Part(neck, "body"), Part(head, "body")]
    parts += [Part(ring, "second")] if rng.random() < 0.4 and long < 0.5 else []
    parts += [Part(wing, "second" if rng.random() < 0.5 else "shade")]
    return (*parts, Part(ellipse(crown[0] + 0.3 * size, crown[1] + 0.04, 0.03, 0.03, 8), "dark"))


def boat(rng: np.random.Generator) -> Silhouette:
    """A hull with sails on a mast, or with a cabin and a funnel."""
    deck = rng.uniform(0.30, 0.42)
    bow = rng.uniform(0.88, 1.02)
    hull = _polygon((-0.86, deck), (-0.70, 0.0), (0.55, 0.0), (0.80, 0.12), (bow, deck + 0.10), (0.5, deck + 0.01))
    keel = _polygon((-0.80, 0.18), (-0.71, 0.0), (0.55, 0.0), (0.78, 0.10), (0.82, 0.18))
    parts = [Part(hull, "body"), Part(keel, "shade" if rng.random() < 0.5 else "second")]
    if rng.random() < 0.6:
        x, top = rng.uniform(-0.15, 0.2), rng.uniform(1.45, 1.95)
        belly = rng.uniform(0.0, 0.15)
        main = _polygon((x - 0.05, top - 0.05), (x - 0.05, deck + 0.12), (-0.75, deck + 0.14), (-0.5 - belly, 0.95))
        parts += [Part(strip([(x, deck), (x, top)], [0.07, 0.05]), "dark"), Part(smooth(main, 1), "second")]
        if rng.random() < 0.7:
            jib = _polygon((x + 0.06, top - 0.20), (bow - 0.08, deck + 0.16), (x + 0.06, deck + 0.14))
            parts += [Part(jib, "second" if rng.random() < 0.5 else "body")]
        return tuple(parts)
    left, right, top = rng.uniform(-0.65, -0.45), rng.uniform(0.10, 0.40), deck + rng.uniform(0.36, 0.52)
    cabin = _polygon((left, deck), (left, top), (right - 0.10, top), (right, deck))
    x = rng.uniform(left + 0.10, left + 0.30)
    funnel = _polygon((x, top), (x - 0.04, top + 0.34), (x + 0.20, top + 0.34), (x + 0.20, top))
    parts += [Part(funnel, "dark" if rng.random() < 0.5 else "body"), Part(cabin, "second")]
    for x in np.arange(left + 0.12, right - 0.16, 0.22):
        parts.append(Part(ellipse(float(x) + 0.04, 0.5 * (deck + top), 0.065, 0.075, 10), "glass"))
    return tuple(parts)


def _wheels(places: tuple[float, float], radius: float) -> list[Part]:
    parts = []
    for x in places:
        parts.append(Part(ellipse(x, radius, radius, radius), "dark"))
        parts.append(Part(ellipse(x, radius, 0.5 * radius, 0.5 * radius, 12), "second"))
    return parts


def car(rng: np.random.Generator) -> Silhouette:
    """A low body on two wheels under a cabin of varying length: saloon, hatchback, pick-up."""
    radius = rng.uniform(0.17, 0.23)
    belt, roof = rng.uniform(0.46, 0.56), rng.uniform(0.82, 0.98)
    rear = float(rng.choice([-0.88, -0.62, -0.12]))  # hatchback, saloon, pick-up
    chassis = smooth(_polygon(
        (-0.98, 0.16), (-1.00, belt - 0.05), (-0.80, belt + 0.02), (0.50, belt), (0.92, belt - 0.10), (1.00, 0.30),
        (0.98, 0.14),
    ), 1)  # fmt: skip
    cabin = _polygon((rear, 0.30), (rear + 0.02, belt), (rear + 0.16, roof), (0.24, roof), (0.58, belt), (0.60, 0.30))
    split = rng.uniform(-0.05, 0.10) if rear < -0.3 else 0.0
    panes = [
        _polygon((split + 0.06, belt + 0.02), (split + 0.06, roof - 0.08), (0.21, roof - 0.08), (0.44, belt + 0.02))
    ]
    if rear < -0.3:
        left = rear + 0.12
        panes.append(
            _polygon((left, belt + 0.02), (left + 0.10, roof - 0.08), (split, roof - 0.08), (split, belt + 0.02))
        )
    lamp = ellipse(0.93, belt - 0.17, 0.05, 0.05, 10)
    parts = [Part(smooth(cabin, 1), "body" if rng.random() < 0.7 else "second"), Part(chassis, "body")]
    parts += [Part(pane, "glass") for pane in panes] + [Part(lamp, "second")]
    return tuple(parts + _wheels((-0.58, 0.60), radius))


def bus(rng: np.random.Generator) -> Silhouette:
    """A long box with a row of windows, or two rows, and two wheels."""
    decks = 2 if rng.random() < 0.35 else 1
    radius = rng.uniform(0.13, 0.17)
    floor, top = 0.12, rng.uniform(0.82, 0.98) if decks == 1 else rng.uniform(1.20, 1.40)
    nose = rng.uniform(0.0, 0.10)
    box = smooth(_polygon(
        (-0.98, floor), (-1.0, top - 0.05), (-0.94, top), (0.94 - nose, top), (1.0 - nose, top - 0.08), (1.0, floor),
    ), 1)  # fmt: skip
    parts = [Part(box, "body")]
    if rng.random() < 0.5:
        middle = rng.uniform(0.32, 0.42)
        band = _polygon((-0.985, middle), (-0.985, middle + 0.09), (0.975, middle + 0.09), (0.98, middle))
        parts.append(Part(band, "second"))
    count = int(rng.integers(4, 7))
    edges = np.linspace(-0.90, 0.86 - nose, count + 1)
    height = 0.28
    for row in range(decks):
        y = top - 0.12 - height - row * 0.46
        for left, right in pairwise(edges.tolist()):
            parts.append(
                Part(_polygon((left, y), (left, y + height), (right - 0.06, y + height), (right - 0.06, y)), "glass")
            )
    return tuple(parts + _wheels((-0.58, 0.58), radius))


SHAPES: dict[str, Callable[[np.random.Generator], Silhouette]] = {
    "cow": cow,
    "sheep": sheep,
    "duck": duck,
    "boat": boat,
    "car": car,
    "bus": bus,
}
"""Classes by name, in the order of their mask values."""
