"""Polygons of the regions of a mask, along the edges of pixels, and their simplification.

A region is a set of pixels of one value that share edges. Its outline runs along the edges of its pixels, so that the
polygon encloses exactly these pixels: corners are whole numbers, (0, 0) is the upper left corner of the image, and the
pixel in row 2, column 5 has the corners (5, 2) and (6, 3).

Every edge between a pixel of the value and one of another is directed so that the value is on its right. Edges are
joined where one ends and another begins. Where four do, at two pixels that touch in a corner, the outline turns right:
it stays with its pixel, so that pixels which touch only in a corner are two regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]
"""Corners of a closed polygon, (P, 2) as x, y; the last is joined to the first."""
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""(x, y) of the directions right, down, left, up; the value is below, left, above and right of them."""


@dataclass(frozen=True)
class Region:
    """Pixels of one value that share edges."""

    value: int
    outer: Ring
    """Clockwise, as seen on the screen."""
    holes: tuple[Ring, ...] = ()
    """Counterclockwise; what lies in them is not the region's."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, in pixels."""
        left, top = np.floor(self.outer.min(axis=0)).astype(int).tolist()
        right, bottom = np.ceil(self.outer.max(axis=0)).astype(int).tolist()
        return left, top, right, bottom


def regions(mask: NDArray[np.uint8], value: int) -> list[Region]:
    """The regions of a value, from top to bottom.

    Args:
        mask: (H, W).
        value: of the pixels.

    >>> found = regions(np.array([[0, 1, 1], [0, 1, 1]], dtype=np.uint8), 1)
    >>> found[0].outer.astype(int).tolist()
    [[1, 0], [3, 0], [3, 2], [1, 2]]
    """
    inside = np.pad(mask == value, 1)
    edges = _edges(inside)
    if not len(edges.start):
        return []
    rings, ring_of = _joined(edges)
    areas = [area(ring) for ring in rings]
    owner = _owners(inside, edges, ring_of, areas)
    holes: dict[int, list[Ring]] = {}
    for index, size in enumerate(areas):
        if size < 0:
            holes.setdefault(owner[index], []).append(rings[index])
    found = [Region(value, ring, tuple(holes.get(index, ()))) for index, ring in enumerate(rings) if areas[index] > 0]
    return sorted(found, key=lambda each: (each.box[1], each.box[0]))


@dataclass(frozen=True)
class _Edges:
    """All edges of a value, numbered by direction, then row by row."""

    start: NDArray[np.int64]
    """Number of the corner where each edge begins: row * width + column, of a grid one larger than the image."""
    direction: NDArray[np.int64]
    width: int
    """Corners in a row."""


def _edges(inside: NDArray[np.bool_]) -> _Edges:
    """Edges of the pixels in a padded array; corners are counted in the image, without the padding."""
    core, width = inside[1:-1, 1:-1], inside.shape[1] - 1
    beyond = (inside[:-2, 1:-1], inside[1:-1, 2:], inside[2:, 1:-1], inside[1:-1, :-2])  # above, right, below, left
    shift = ((0, 0), (0, 1), (1, 1), (1, 0))  # where the edge begins: row and column from the pixel's upper left
    starts, directions = [], []
    for direction, (other, (down, right)) in enumerate(zip(beyond, shift, strict=True)):
        rows, columns = np.nonzero(core & ~other)
        starts.append((rows + down) * width + columns + right)
        directions.append(np.full(len(rows), direction))
    return _Edges(np.concatenate(starts), np.concatenate(directions), width)


def _joined(edges: _Edges) -> tuple[list[Ring], NDArray[np.int64]]:
    """Closed rings with their corners alone, and the ring of each edge."""
    count = len(edges.start)
    ahead = np.array([x + y * edges.width for x, y in _STEPS])
    end = edges.start + ahead[edges.direction]
    order = np.argsort(edges.start * 4 + edges.direction, kind="stable")
    known = (edges.start * 4 + edges.direction)[order]
    following = np.full(count, -1)
    for turn in (3, 0, 1):  # in the order of rising preference: left, straight on, right
        wanted = end * 4 + (edges.direction + turn) % 4
        place = np.minimum(np.searchsorted(known, wanted), count - 1)
        there = known[place] == wanted
        following[there] = order[place[there]]
    nexts, directions = following.tolist(), edges.direction.tolist()
    ring_of = np.full(count, -1)
    rings: list[Ring] = []
    for first in order.tolist():  # from the top, so that a region's ring comes before those of its holes
        if ring_of[first] >= 0:
            continue
        members, at = [first], nexts[first]
        while at != first:
            members.append(at)
            at = nexts[at]
        ring_of[members] = len(rings)
        corners = [
            one
            for before, one in zip([members[-1], *members], members, strict=False)
            if directions[before] != directions[one]
        ]
        start = edges.start[corners]
        rings.append(np.stack([start % edges.width, start // edges.width], axis=1).astype(np.float64))
    return rings, ring_of


def area(ring: Ring) -> float:
    """Area in pixels: positive if it runs clockwise on the screen."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _owners(inside: NDArray[np.bool_], edges: _Edges, ring_of: NDArray[np.int64], areas: list[float]) -> dict[int, int]:
    """The outer ring around each hole.

    From the pixel above a topmost edge of the hole, one goes left to the next edge: it is of the outer ring, or of
    another hole that reaches further up, from which one goes on.
    """
    upward = np.flatnonzero(edges.direction == 3)  # on the left side of a pixel, and begins at its lower left corner
    places = edges.start[upward] - edges.width
    order = np.argsort(places)
    upward, places = upward[order], places[order]
    leftward = np.flatnonzero(edges.direction == 2)  # below a pixel: the top of a hole, or the bottom of a region
    topmost: dict[int, int] = {}
    for edge in leftward[np.argsort(edges.start[leftward], kind="stable")].tolist():
        topmost.setdefault(int(ring_of[edge]), edge)
    found: dict[int, int] = {}
    for hole in (index for index, size in enumerate(areas) if size < 0):
        ring = hole
        while areas[ring] < 0:
            # The pixel above an edge that begins at the corner on its right, one row down.
            pixel = int(edges.start[topmost[ring]]) - edges.width - 1
            ring = int(ring_of[upward[np.searchsorted(places, pixel, side="right") - 1]])
        found[hole] = ring
    return found


def simplified(ring: Ring, tolerance: float) -> Ring:
    """A ring with fewer corners (Ramer, 1972; Douglas and Peucker, 1973), none of the others further away than told.

    Args:
        ring: (P, 2).
        tolerance: in pixels; 0 changes nothing.
    """
    if tolerance <= 0 or len(ring) <= 4:
        return ring
    far = int(np.argmax(((ring - ring[0]) ** 2).sum(axis=1)))
    closed = np.concatenate([ring, ring[:1]])
    keep = np.zeros(len(closed), dtype=np.bool_)
    keep[[0, far, len(ring)]] = True
    pending = [(0, far), (far, len(ring))]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        apart = _distances(closed[first + 1 : last], closed[first], closed[last])
        worst = int(np.argmax(apart))
        if apart[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    found = ring[keep[:-1]]
    return found if len(found) >= 3 else ring


def _distances(points: Ring, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (P,) of points from a segment."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1)[:, None] if length else np.zeros((len(points), 1))
    apart = points - start - share * along
    return np.asarray(np.hypot(apart[:, 0], apart[:, 1]), dtype=np.float64)


def opened(region: Region) -> Ring:
    """A region with holes as one ring: a cut without width leads from each hole to the outer ring, and back.

    For formats whose polygons have no holes. The cut encloses nothing, so that the same pixels are inside.
    """
    ring = region.outer
    for hole in sorted(region.holes, key=lambda each: float(each[:, 0].min())):
        at = int(np.argmin(hole[:, 0] * 1e6 + hole[:, 1]))
        corner = hole[at]
        place, cut = _left_of(ring, corner)
        turned = np.roll(hole, -at, axis=0)
        ring = np.concatenate([ring[: place + 1], cut[None], turned, corner[None], cut[None], ring[place + 1 :]])
    return ring


def _left_of(ring: Ring, corner: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """The edge of a ring that is met by going left from a corner: its first corner, and the point."""
    (ax, ay), (bx, by) = ring.T, np.roll(ring, -1, axis=0).T
    x, y = corner
    crosses = (np.minimum(ay, by) <= y) & (y <= np.maximum(ay, by)) & (ay != by)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = ax + (y - ay) * (bx - ax) / (by - ay)
    at = np.where(crosses & (at <= x), at, -np.inf)
    place = int(np.argmax(at))
    if at[place] == -np.inf:  # simplification has moved the hole out of its region
        nearest = int(np.argmin(((ring - corner) ** 2).sum(axis=1)))
        return nearest, ring[nearest]
    return place, np.array([at[place], y])
