"""Outlines of objects in other tools' annotations, and the mask that is drawn from them; imports pycocotools.

Outlines are checked when they are read: a coordinate that is no number, or run lengths of another size, would make
pycocotools allocate without bound or read memory that is not its own. What is far outside an image is cut off before it
is drawn, so that memory depends on the image alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE, InputError
from deft.data.layouts.run_lengths import checked_counts, counts_to_mask
from deft.data.layouts.values import is_nothing, short, whole_number

_CORNERS = 72
"""Corners of the polygon that stands for a circle or an ellipse."""


@dataclass(frozen=True)
class Polygons:
    """An object as the union of polygons."""

    rings: tuple[NDArray[np.float64], ...]
    """Corners of each polygon, (P, 2) as x, y: in pixels, or relative to the width and height of the image."""
    relative: bool = False


@dataclass(frozen=True)
class Runs:
    """An object as run lengths within a box of the image."""

    counts: NDArray[np.int64]
    """From :func:`deft.data.layouts.run_lengths.checked_counts`."""
    size: tuple[int, int]
    """(H, W) of the box."""
    corner: tuple[int, int] = (0, 0)
    """(left, top) of the box in the image, in pixels."""
    columns: bool = True
    """Column by column, else row by row."""


Outline = Polygons | Runs


class Instance(NamedTuple):
    """One object of an image."""

    value: int
    """Mask value: k + 1 for class k; 255 for an area to ignore, such as a crowd."""
    outline: Outline | None
    """None if only its box, or only its class is known."""


def require_pycocotools(kind: str) -> None:
    """Check that polygons can be drawn.

    Raises:
        InputError: pycocotools is not installed.
    """
    try:
        import pycocotools  # noqa: F401
    except ImportError:
        raise InputError(
            f"{kind}: drawing masks from polygons needs the package pycocotools; pip install 'deft-wsss[coco]'"
        ) from None


def read_segmentation(value: Any, size: tuple[int, int] | None) -> Outline | None:
    """The outline in the field ``segmentation`` of a COCO annotation.

    Besides COCO's own forms, a list of polygons and run lengths, it reads one polygon that is not in a list, polygons
    as lists of points, and all of these as JSON in text, as tables contain it.

    Args:
        value: as read from the file.
        size: (H, W) of the image, if known.

    Returns:
        The outline; None if there is none.

    Raises:
        ValueError: the value is not an outline, or does not fit the image.
    """
    if isinstance(value, str) and not is_nothing(value):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"expected polygons or run lengths, got {short(value)}") from None
    if is_nothing(value) or (isinstance(value, list | dict) and not value):
        return None
    if isinstance(value, dict):
        return _read_runs(value, size)
    if not isinstance(value, list):
        raise ValueError(f"expected polygons or run lengths, got {short(value)}")
    if not any(isinstance(each, list) for each in value):
        ring = read_ring(value)
        if len(ring) < 3:
            raise ValueError(f"expected a list of polygons, got {short(value)}")
        return Polygons((ring,))
    if len(value) > 2 and all(isinstance(each, list) and len(each) == 2 for each in value):
        return Polygons((read_ring(value),))
    rings = tuple(read_ring(each) for each in value if each != [])
    return Polygons(rings) if rings else None


def read_ring(points: Any) -> NDArray[np.float64]:
    """Corners (P, 2) of a polygon, from ``[x, y, x, y, ...]`` or ``[[x, y], ...]``.

    Raises:
        ValueError: they are not points, or not finite.
    """
    try:
        found = np.array(points, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"expected coordinates that are numbers, got {short(points)}") from None
    if found.ndim == 1 and len(found) % 2:
        raise ValueError(f"expected pairs of coordinates, got {len(found)} numbers")
    if not np.isfinite(found).all():
        raise ValueError("a coordinate is not a finite number")
    if found.ndim == 1:
        return found.reshape(-1, 2)
    if found.ndim != 2 or found.shape[1] != 2:
        raise ValueError(f"expected points of two coordinates, got {short(points)}")
    return found


def ellipse(x: float, y: float, horizontal: float, vertical: float, degrees: float = 0.0) -> NDArray[np.float64]:
    """Corners (P, 2) of an ellipse with its centre, half axes, and clockwise rotation."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    turn = np.deg2rad(degrees)
    across, down = horizontal * np.cos(angles), vertical * np.sin(angles)
    return np.stack(
        [x + across * np.cos(turn) - down * np.sin(turn), y + across * np.sin(turn) + down * np.cos(turn)], axis=1
    )


def _read_runs(value: dict[str, Any], size: tuple[int, int] | None) -> Runs:
    sides = value.get("size")
    numbers = [whole_number(side) for side in sides] if isinstance(sides, list) else []
    if len(numbers) != 2 or any(side is None or side <= 0 for side in numbers):
        raise ValueError(f"expected run lengths with a size [height, width], got {short(sides)}")
    own = (int(numbers[0] or 0), int(numbers[1] or 0))
    if size is not None and own != size:
        raise ValueError(f"its run lengths are {short(own[1])} x {short(own[0])}, its image {size[1]} x {size[0]}")
    if "counts" not in value:
        raise ValueError("its run lengths have no counts")
    return Runs(checked_counts(value["counts"], own), own)


def draw(instances: Sequence[Instance], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw the mask (H, W) of objects: areas to ignore at the bottom, objects above, small ones over large ones.

    Args:
        instances: those without an outline are not drawn.
        size: (H, W) of the image, which is already decoded: a mask is allocated for it.

    Raises:
        ValueError: run lengths do not fit the image.
    """
    mask = np.zeros(size, dtype=np.uint8)
    shapes = []
    for value, outline in instances:
        if isinstance(outline, Polygons):
            shape = _polygons(outline, size)
        elif outline is not None:
            shape = _runs(outline)
        else:
            continue
        shapes.append((value != IGNORE, -shape.area, value, shape))
    for _, _, value, shape in sorted(shapes, key=lambda each: each[:2]):
        left, top = shape.corner
        part = shape.pixels()
        part = part[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
        where = mask[max(0, top) : max(0, top) + part.shape[0], max(0, left) : max(0, left) + part.shape[1]]
        where[part] = value
    return mask


class _Shape(NamedTuple):
    area: int
    corner: tuple[int, int]
    pixels: Callable[[], NDArray[np.bool_]]


def _runs(outline: Runs) -> _Shape:
    return _Shape(
        int(outline.counts[1::2].sum()),
        outline.corner,
        lambda: counts_to_mask(outline.counts, outline.size, outline.columns),
    )


def _polygons(outline: Polygons, size: tuple[int, int]) -> _Shape:
    from pycocotools import mask as coco

    height, width = size
    rings = [ring * (width, height) for ring in outline.rings] if outline.relative else list(outline.rings)
    # Fewer than three points enclose no area; pycocotools would take two for a box.
    clipped = [ring for ring in (_clipped(ring, size) for ring in rings) if len(ring) >= 3]
    if not clipped:
        return _Shape(0, (0, 0), lambda: np.zeros((0, 0), dtype=np.bool_))
    moved, (left, top), (wide, high) = _in_box(clipped, size)
    drawn = coco.merge(coco.frPyObjects([ring.ravel().tolist() for ring in moved], high, wide))
    return _Shape(int(coco.area(drawn)), (left, top), lambda: coco.decode(drawn).astype(np.bool_))


def _in_box(
    rings: list[NDArray[np.float64]], size: tuple[int, int]
) -> tuple[list[NDArray[np.float64]], tuple[int, int], tuple[int, int]]:
    """Rings moved into their box, its (left, top), and its (width, height).

    A thousand polygons of a large photograph would else be a thousand masks of its size. pycocotools rounds corners to
    a fifth of a pixel, so that rounded ones can be moved without drawing another pixel. Towards negative coordinates it
    rounds differently: where there are any, the box begins at 0, and nothing moves.
    """
    corners = np.concatenate(rings)
    low, high = corners.min(axis=0), corners.max(axis=0)
    start = np.clip(np.floor(low) - 1, 0, None)
    start = np.minimum(start, np.array(size[::-1]) - 1)
    end = np.clip(np.ceil(high) + 1, start + 1, np.array(size[::-1]))
    moved = [np.where(start > 0, (np.floor(5 * ring + 0.5) - 5 * start) / 5, ring) for ring in rings]
    (left, top), (wide, tall) = start.astype(int).tolist(), (end - start).astype(int).tolist()
    return moved, (left, top), (wide, tall)


def _clipped(ring: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Cut off what is further outside the image than its own size (Sutherland and Hodgman, 1974)."""
    for axis, length in ((0, size[1]), (1, size[0])):
        for sign, limit in ((1.0, 2.0 * length + 16), (-1.0, length + 16.0)):
            inside = sign * ring[:, axis] <= limit
            if inside.all():
                continue
            corners = []
            for at in range(len(ring)):
                before, here = ring[at - 1], ring[at]
                if inside[at - 1] != inside[at]:
                    # Halves, because the difference of two large numbers may be infinite.
                    share = (sign * limit / 2 - before[axis] / 2) / (here[axis] / 2 - before[axis] / 2)
                    crossing = before + 2 * share * (here / 2 - before / 2)
                    crossing[axis] = sign * limit
                    corners.append(crossing)
                if inside[at]:
                    corners.append(here)
            ring = np.array(corners).reshape(-1, 2)
    return ring
