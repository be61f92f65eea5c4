"""Masks of photographs at their own resolution, in overlapping tiles, in memory that does not grow with their size.

The photograph is scaled to a fraction of its size, and at each of the scales of :class:`Inference` the network sees it
in tiles that lie on multiples of its stride, so that the cells of a tile are those of the whole photograph. Where tiles
overlap, the probabilities are averaged with weights that are 0 in the outer third of the overlap, rise over the middle
third and are 1 in the inner one. A cell is thus exactly that of the untiled photograph if the network looks no further
than a third of the overlap.

One part of the network sees everything: the global pooling branch of its decoder. Its mean is therefore computed
before, over the cells of all tiles, which takes a second pass of the backbone. The tiles are done in rows, and wide
photographs in several columns of rows; what is finished is enlarged to the photograph and handed out. Networks that
look at the whole image elsewhere too (squeeze and excitation, attention) take a tile for the whole image.

Shapes: photograph (H, W), view of it at a scale (h, w), probabilities (K + 1, cells, cells), background first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.contracts import InputError, LabelMap
from deft.engine.parts import large_in_parts
from deft.engine.precision import EXACT, autocast
from deft.ranges import Range, check_ranges
from deft.segment.deeplab import SegmentationNetwork
from deft.segment.inference import Inference, absent_classes
from deft.segment.tile_layout import Axis, Span, cores, fading, parts_of, spans

View = Callable[[tuple[int, int], slice, slice], NDArray[np.uint8]]
"""Pixels (rows, columns, 3) of a window of the photograph scaled to (h, w)."""
_ACCUMULATED = 16_000_000
"""Probabilities that are summed at a time (64 MB); they bound the width of a column of rows."""
_ENLARGED = 8_000_000
"""Probabilities at the size of the photograph at a time (32 MB)."""


@dataclass(frozen=True)
class Tiles:
    """Settings of inference in tiles."""

    size: Annotated[int, Range(64, 8192)] = 1024
    """Side of a tile, in pixels of the scaled photograph; bounds memory."""
    overlap: Annotated[int, Range(0, 4096)] = 256
    """Pixels that neighbouring tiles share; at most half a tile."""
    scale: Annotated[float, Range(0, 4, above=True)] = 1.0
    """Fraction of the photograph's resolution at which the network sees it."""
    context: Literal["photograph", "tile"] = "photograph"
    """What the global pooling branch sees: ``tile`` saves a pass of the backbone, but tiles then differ from the whole
    photograph, and from each other."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)
        if 2 * self.overlap > self.size:
            raise InputError(
                f"expected an overlap of at most half a tile, got {self.overlap} of {self.size} pixels; take larger "
                "tiles, or a smaller overlap"
            )


@dataclass(frozen=True)
class Piece:
    """A finished part of a mask."""

    rows: slice
    columns: slice
    mask: NDArray[np.uint8]
    """uint8 (rows, columns): 0 background, k + 1 for class k."""
    sums: NDArray[np.float64]
    """Sum of the probability of each value over its pixels, (K + 1,)."""


class Segmentation:
    """The tiles of one photograph: :meth:`pieces` yields its mask."""

    def __init__(
        self,
        network: SegmentationNetwork,
        view: View,
        size: tuple[int, int],
        tiles: Tiles | None = None,
        inference: Inference | None = None,
        allowed: Collection[int] | None = None,
        precision: str = EXACT,
        progress: Callable[[], object] | None = None,
    ) -> None:
        """Lay out the tiles; nothing is read.

        Args:
            network: in eval mode, on any device.
            view: the photograph.
            size: (H, W) of the mask, that of the photograph.
            tiles: size, overlap and scale.
            inference: scales and flip; its ``max_side`` does not count.
            allowed: indices of the classes that are allowed besides background; None allows all.
            precision: precision of the network.
            progress: called after each tile, :attr:`steps` times.

        Raises:
            InputError: an index of a class is out of range.
        """
        tiles, inference = tiles or Tiles(), inference or Inference()
        self._network, self._view, self._size, self._precision = network, view, size, precision
        self._flip, self._progress = inference.flip, progress or (lambda: None)
        self._device = next(network.parameters()).device
        self._absent = absent_classes(network.classes, allowed).to(self._device)
        stride, cell = network.backbone.reductions[-1], network.grid_stride

        def axis(full: int, scale: float = 1.0) -> Axis:
            base, own = (max(1, round(full * tiles.scale * each)) for each in (1.0, scale))
            return Axis(full, base, own, stride, cell)

        self._rows, self._columns = map(axis, size)
        self._views = [(axis(size[0], scale), axis(size[1], scale)) for scale in inference.scales]
        side = max(2, tiles.size // stride) * stride // cell
        self._overlap = min(tiles.overlap // stride * stride // cell, side // 2)
        self._row_spans = spans(self._rows.cells, side, self._overlap)
        self._column_spans = spans(self._columns.cells, side, self._overlap)
        self._whole = tiles.context == "photograph" and len(self._row_spans) * len(self._column_spans) > 1
        self._parts = list(parts_of(self._columns.cells, max(side, _ACCUMULATED // ((network.classes + 1) * side))))

    @property
    def steps(self) -> int:
        """Tiles in all, counted again for the means of the whole photograph and where columns of rows meet."""
        columns = sum(len(self._spans_in(part)) for part in self._parts)
        return len(self._row_spans) * (columns + len(self._column_spans) * self._whole)

    def pieces(self) -> Iterator[Piece]:
        """The parts of the mask, which together cover it once."""
        with torch.inference_mode():
            means = self._means() if self._whole else [None] * len(self._views)
        for part in self._parts:
            yield from self._column(part, means)

    def label_map(self, classes: tuple[str, ...]) -> LabelMap:
        """The whole mask, with the mean probability of each class over its pixels."""
        mask = np.empty(self._size, dtype=np.uint8)
        sums, counts = np.zeros(len(classes) + 1), np.zeros(len(classes) + 1)
        for piece in self.pieces():
            mask[piece.rows, piece.columns] = piece.mask
            sums += piece.sums
            counts += np.bincount(piece.mask.ravel(), minlength=len(counts))
        found = [value for value in range(1, len(counts)) if counts[value]]
        return LabelMap(mask, classes, {classes[value - 1]: float(sums[value] / counts[value]) for value in found})

    def _column(self, part: Span, means: Sequence[Tensor | None]) -> Iterator[Piece]:
        """The mask of some columns of cells, from its top to its bottom."""
        (first, last), spans_here = part, self._spans_in(part)
        left, right = max(0, first - 1), min(self._columns.cells, last + 1)  # a neighbour to interpolate with
        across = self._columns.places()
        columns = slice(*(self._columns.pixel(edge) for edge in part))
        down = self._rows.places()
        top = done = 0
        summed = torch.zeros((self._network.classes + 1, 0, right - left), device=self._device)
        for index, rows in enumerate(self._row_spans):
            more = summed.new_zeros((len(summed), rows[1] - top - summed.shape[1], right - left))
            summed = torch.cat([summed, more], dim=1)
            for span in spans_here:
                with torch.inference_mode():
                    found = self._tile(rows, span, means)
                begin, end = max(left, span[0]), min(right, span[1])
                own = found[..., begin - span[0] : end - span[0]]
                summed[:, rows[0] - top : rows[1] - top, begin - left : end - left] += own
                self._progress()
            ends = index + 1 == len(self._row_spans)
            ready = self._rows.cells if ends else self._row_spans[index + 1][0]
            until = self._rows.full if ends else int(np.searchsorted(down, ready - 1, side="right"))
            finished = summed[:, : ready - top]
            finished = finished / finished.sum(dim=0)
            yield from self._enlarged(finished, slice(done, until), columns, down - top, across - left)
            if not ends:
                keep = max(0, min(ready - 1, math.floor(down[until]))) - top
                summed, top, done = summed[:, keep:].clone(), top + keep, until

    def _enlarged(
        self, maps: Tensor, rows: slice, columns: slice, down: NDArray[np.float64], across: NDArray[np.float64]
    ) -> Iterator[Piece]:
        """Masks of rows and columns of the photograph, a band at a time."""
        step = max(1, _ENLARGED // (len(maps) * max(1, columns.stop - columns.start)))
        for top in range(rows.start, rows.stop, step):
            band = slice(top, min(top + step, rows.stop))
            fine = _between(_between(maps, down[band], 1), across[columns], 2)
            best, values = fine.max(dim=0)
            mask = values.byte().cpu().numpy()
            sums = np.zeros(len(maps))
            sums += np.bincount(mask.ravel(), best.flatten().double().cpu().numpy(), minlength=len(maps))
            yield Piece(band, columns, mask, sums)

    def _tile(self, rows: Span, columns: Span, means: Sequence[Tensor | None]) -> Tensor:
        """Probabilities of the cells of a tile times its weights, (K + 1, cells, cells)."""
        total: Tensor | None = None
        for (down, across), mean in zip(self._views, means, strict=True):
            batch = self._batch(down, across, rows, columns)
            with autocast(self._precision, self._device):
                others = () if mean is None else (mean,)
                logits: Tensor = large_in_parts(self._network.coarse, batch, *others).float()
            logits[:, self._absent] = -torch.inf
            shares = logits.softmax(dim=1)
            own = (shares[0] + shares[1].flip(-1)) / 2 if self._flip else shares[0]
            vertical, horizontal = down.weights(*rows), across.weights(*columns)
            own = own if vertical is None else vertical.to(own) @ own
            own = own if horizontal is None else own @ horizontal.to(own).T
            total = own if total is None else total + own
        if total is None:
            raise AssertionError("scales are never empty")
        weights = np.outer(
            fading(rows, self._rows.cells, self._overlap), fading(columns, self._columns.cells, self._overlap)
        )
        return total * torch.from_numpy(weights).to(total)

    def _means(self) -> list[Tensor]:
        """Mean features of the whole photograph at each scale, (1 or 2, C, 1, 1); the second is of its mirror image.

        Each cell counts once, from the tile in which it is furthest from the edges.
        """
        sums: list[Tensor] = []
        down_cores = cores(self._row_spans, [down for down, _ in self._views])
        across_cores = cores(self._column_spans, [across for _, across in self._views])
        for rows, down_edges in zip(self._row_spans, down_cores, strict=True):
            for columns, across_edges in zip(self._column_spans, across_cores, strict=True):
                for index, (down, across) in enumerate(self._views):
                    batch = self._batch(down, across, rows, columns)
                    with autocast(self._precision, self._device):
                        maps = large_in_parts(self._last_map, batch).double()
                    (top, bottom), (left, right) = down_edges[index], across_edges[index]
                    y, x = down.window(*rows)[0] // down.stride, across.window(*columns)[0] // across.stride
                    maps[1:] = maps[1:].flip(-1)
                    inner = maps[..., top - y : bottom - y, left - x : right - x].sum(dim=(2, 3), keepdim=True)
                    if index == len(sums):
                        sums.append(torch.zeros_like(inner))
                    sums[index] += inner
                self._progress()
        counts = [down.padded // down.stride * (across.padded // across.stride) for down, across in self._views]
        return [(total / count).float() for total, count in zip(sums, counts, strict=True)]

    def _last_map(self, images: Tensor) -> Tensor:
        maps: list[Tensor] = self._network.backbone(images)
        return maps[-1]

    def _batch(self, down: Axis, across: Axis, rows: Span, columns: Span) -> Tensor:
        """A tile of a view, and its mirror image if that is asked for, (1 or 2, 3, h, w)."""
        (top, bottom), (left, right) = down.window(*rows), across.window(*columns)
        pixels = np.empty((bottom - top, right - left, 3), dtype=np.uint8)
        pixels[:] = self._network.backbone.fill
        below, beside = min(bottom, down.view), min(right, across.view)
        if top < below and left < beside:
            pixels[: below - top, : beside - left] = self._view(
                (down.view, across.view), slice(top, below), slice(left, beside)
            )
        image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        batch = torch.stack([image, image.flip(-1)]) if self._flip else image[None]
        return batch.to(self._device).contiguous(memory_format=torch.channels_last)

    def _spans_in(self, part: Span) -> list[Span]:
        """The tiles that weigh in some columns of cells or beside them."""
        margin = self._overlap // 3
        return [
            (start, stop)
            for start, stop in self._column_spans
            if start + margin * (start > 0) <= part[1] and stop - margin * (stop < self._columns.cells) >= part[0]
        ]


def _between(maps: Tensor, places: NDArray[np.float64], dim: int) -> Tensor:
    """Maps at places between the centres of their cells along one axis, linearly interpolated."""
    at = torch.from_numpy(places.clip(0, maps.shape[dim] - 1))
    lower = at.floor().long()
    shape = [-1 if axis == dim else 1 for axis in range(maps.dim())]
    share = (at - lower).to(maps).view(shape)
    upper = (lower + 1).clamp(max=maps.shape[dim] - 1)
    before, after = (maps.index_select(dim, index.to(maps.device)) for index in (lower, upper))
    return torch.lerp(before, after, share)
