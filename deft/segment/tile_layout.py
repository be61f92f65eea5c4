"""Where the tiles of a photograph lie along its rows or columns, and how much each of their cells counts.

A photograph is looked at in *views*: scaled by a fraction, and by that times each scale of the inference. All are
covered by a grid of cells, several pixels wide; tiles are spans of the cells of the first view.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Span = tuple[int, int]
"""First cell or pixel, and the one behind the last."""


@dataclass(frozen=True)
class Axis:
    """Rows or columns: of the photograph, of its view at the fraction that was asked for, and at one of the scales."""

    full: int
    base: int
    view: int
    stride: int
    """Of the network, in pixels."""
    cell: int
    """Of the grid of probabilities, in pixels."""

    @property
    def padded(self) -> int:
        """Pixels of the view with the padding behind it."""
        return max(2, -(-self.view // self.stride)) * self.stride

    @property
    def cells(self) -> int:
        """Cells of the base view, with its padding."""
        return max(2, -(-self.base // self.stride)) * self.stride // self.cell

    def window(self, start: int, stop: int) -> Span:
        """Pixels of the view under a tile, given by cells of the base view: multiples of the stride around it."""
        ratio, stride = self.cell * self.view / self.base, self.stride
        end = self.padded if stop == self.cells else min(self.padded, math.ceil(stop * ratio / stride) * stride)
        begin = min(math.floor(start * ratio / stride) * stride, end - 2 * stride)
        return max(0, begin), max(end, 2 * stride)

    def weights(self, start: int, stop: int) -> Tensor | None:
        """Matrix (cells of the tile, cells of its window) that resamples the view to the base view; None if equal.

        Linear between the centres of cells, and averaging where the view is finer.
        """
        if self.view == self.base:
            return None
        ratio, (begin, end) = self.view / self.base, self.window(start, stop)
        source = np.arange(begin // self.cell, end // self.cell) + 0.5
        centre = ((np.arange(start, stop) + 0.5) * ratio).clip(0.5, self.padded / self.cell - 0.5)
        found = (1 - np.abs(source[None] - centre[:, None]) / max(1.0, ratio)).clip(0)
        return torch.from_numpy(found / found.sum(axis=1, keepdims=True)).float()

    def places(self) -> NDArray[np.float64]:
        """For each row of the photograph, where it lies between the centres of cells, (full,)."""
        found: NDArray[np.float64] = (np.arange(self.full) + 0.5) * self.base / self.full / self.cell - 0.5
        return found.clip(0, self.cells - 1)

    def pixel(self, edge: int) -> int:
        """The first row of the photograph behind the edge before a cell; all of them lie behind edge 0."""
        if edge in (0, self.cells):
            return 0 if edge == 0 else self.full
        return int(np.searchsorted(self.places(), edge - 0.5))


def spans(cells: int, tile: int, overlap: int) -> list[Span]:
    """The tiles along one axis; the last one ends with the axis and may overlap more.

    >>> spans(10, 4, 2), spans(11, 4, 2), spans(3, 4, 2)
    ([(0, 4), (2, 6), (4, 8), (6, 10)], [(0, 4), (2, 6), (4, 8), (6, 10), (7, 11)], [(0, 3)])
    """
    if cells <= tile:
        return [(0, cells)]
    last = cells - tile
    starts = [*range(0, last, tile - overlap), last]
    return [(start, start + tile) for start in starts]


def fading(span: Span, cells: int, overlap: int) -> NDArray[np.float64]:
    """Weight of each cell of a tile along one axis: falls to 0 towards edges inside the photograph.

    >>> fading((0, 8), 16, 6).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.75, 0.25, 0.0, 0.0]
    """
    start, stop = span
    inside = np.arange(stop - start) + 0.5
    found = np.ones(stop - start)
    if overlap:
        for edge, distance in ((start > 0, inside), (stop < cells, inside[::-1])):
            found = np.minimum(found, (3 * distance / overlap - 1).clip(0, 1)) if edge else found
    return found


def parts_of(cells: int, most: int) -> Iterator[Span]:
    """Parts of an axis that are done one after the other, of at most so many cells.

    >>> list(parts_of(10, 4)), list(parts_of(3, 4))
    ([(0, 4), (4, 8), (8, 10)], [(0, 3)])
    """
    for start in range(0, cells, most):
        yield start, min(start + most, cells)


def cores(tiles: Sequence[Span], views: Sequence[Axis]) -> list[list[Span]]:
    """For each tile and each view, the cells of the network's last feature map that are nearest to that tile.

    Together they cover the padded view once.
    """
    windows = [[view.window(*span) for view in views] for span in tiles]
    edges = [[0] * len(views)]
    for before, after in pairwise(windows):
        middles = zip(before, after, views, strict=True)
        edges.append([(one[1] + two[0]) // 2 // view.stride for one, two, view in middles])
    edges.append([view.padded // view.stride for view in views])
    return [list(zip(start, stop, strict=True)) for start, stop in pairwise(edges)]
