"""Masks of photographs and GeoTIFFs at their own resolution, in tiles: ``deft predict --tiles auto``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deft.artifacts import OutFolder, file_stem, mask_png, palette
from deft.contracts import IGNORE, InputError, LabelMap
from deft.data.files import ImageFiles
from deft.data.raster import Channels, mask_writer
from deft.data.scaling import fitted
from deft.data.windows import WindowedPhotograph, is_large, opened
from deft.engine.precision import AUTO
from deft.engine.shortage import lacking, out_of_memory, reason_of, release
from deft.guards.words import shown
from deft.predict.masks import Predictor, load, overlay_jpg
from deft.predict.photographs import photographs, reads, refuse_left_out, tags_of_files
from deft.segment.tiles import Tiles

OVERVIEW = 1024
"""Longer side of the pictures, in pixels."""
Sink = Callable[[slice, slice, NDArray[np.uint8]], None]
"""Takes rows, columns and values of a mask."""


def predict_tiles(
    run: Path,
    images: Path,
    out: Path,
    tags: Path | None = None,
    precision: str = AUTO,
    tiles: Tiles | None = None,
    channels: Channels | None = None,
) -> int:
    """Write ``masks/`` and ``overlays/`` for a photograph or a folder of them, each segmented in tiles.

    Photographs are done one after the other. The masks of TIFFs, and of photographs of more than 80 million pixels, are
    GeoTIFFs, written in windows, with the place on the map of those that have one; pixels of a raster without data are
    255. Other masks are palette PNGs. Overlays show all of the photograph, at most 1024 pixels long.

    Args:
        run: as for :func:`deft.predict.masks.load`.
        images: a folder, or one photograph.
        out: where to write.
        tags: table ``image,labels``; an image it does not name may hold any class.
        precision: as for :func:`deft.predict.masks.load`.
        tiles: size, overlap and scale.
        channels: bands and range of TIFFs.

    Returns:
        The number of photographs.

    Raises:
        InputError: nothing to read, an unreadable photograph (the others are done), or a tag that is no class.
    """
    tiles, channels = tiles or Tiles(), channels or Channels()
    found = photographs(images, tell=True)
    names = [_names(found, index) for index in range(len(found.paths))]
    made = OutFolder(out, reads(images, found, tags), [name for both in names for name in both])
    predictor = load(run, precision=precision, max_side=None)
    if predictor.inference.crf is not None:
        print("tiles are segmented without the CRF of the run's inference", file=sys.stderr)
    allowed = tags_of_files(tags, found, predictor.classes)
    left_out: list[str] = []
    for index, path in enumerate(found.paths):
        lacks = ""
        try:
            _predict(predictor, path, tiles, channels, allowed.get(index), made, names[index])
        except InputError as error:
            left_out.append(str(error))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            lacks = f"{lacking(shown(path), reason_of(error))} Smaller tiles need less"
        if lacks:
            release()
            left_out.append(lacks)
    refuse_left_out(left_out, len(found.paths))
    return len(found.paths)


def _names(found: ImageFiles, index: int) -> tuple[str, str]:
    """Names of the mask and the overlay of a photograph."""
    stem = file_stem(found.names[index])
    try:
        suffix = "tif" if is_large(found.paths[index]) else "png"
    except InputError:  # told when it is its turn
        suffix = "png"
    return f"masks/{stem}.{suffix}", f"overlays/{stem}.jpg"


def _predict(
    predictor: Predictor,
    path: Path,
    tiles: Tiles,
    channels: Channels,
    tags: tuple[str, ...] | None,
    out: OutFolder,
    names: tuple[str, str],
) -> None:
    """Segment one photograph and write its files."""
    with opened(path, predictor.finest(tiles), channels) as photograph:
        small = Small(photograph.size)
        with tqdm(unit="tile", desc=shown(path.name)) as bar, _mask_file(photograph, predictor, out, names[0]) as write:
            segmentation = predictor.in_tiles(photograph, tiles, tags, bar.update)
            bar.reset(total=segmentation.steps)
            for piece in segmentation.pieces():
                values = piece.mask
                valid = None if photograph.raster is None else photograph.raster.valid(piece.rows, piece.columns)
                if valid is not None:
                    values = np.where(valid, values, IGNORE).astype(np.uint8)
                write(piece.rows, piece.columns, values)
                small.take(piece.rows, piece.columns, values)
        height, width = small.mask.shape
        pixels = photograph.view((height, width), slice(0, height), slice(0, width))
    out.write(names[1], overlay_jpg(pixels, LabelMap(small.mask, predictor.classes)))


class Small:
    """A mask scaled down to at most :data:`OVERVIEW`, from its parts: the value under the centre of each pixel."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.mask = np.zeros(fitted(size, OVERVIEW), dtype=np.uint8)
        self._centres = [
            (2 * np.arange(new, dtype=np.intp) + 1) * old // (2 * new)
            for new, old in zip(self.mask.shape, size, strict=True)
        ]

    def take(self, rows: slice, columns: slice, values: NDArray[np.uint8]) -> None:
        """Add a part."""
        here = [
            slice(*np.searchsorted(centres, (part.start, part.stop)).tolist())
            for centres, part in zip(self._centres, (rows, columns), strict=True)
        ]
        down, across = (centres[part] for centres, part in zip(self._centres, here, strict=True))
        self.mask[here[0], here[1]] = values[np.ix_(down - rows.start, across - columns.start)]


@contextmanager
def _mask_file(photograph: WindowedPhotograph, predictor: Predictor, out: OutFolder, name: str) -> Iterator[Sink]:
    """Write a mask, in windows where it is large."""
    if photograph.is_large:
        place = {} if photograph.raster is None else photograph.raster.place()
        with (
            out.part(name) as path,
            mask_writer(path, photograph.size, predictor.classes, palette(), place) as write,
        ):
            yield write
        return
    mask = np.empty(photograph.size, dtype=np.uint8)

    def keep(rows: slice, columns: slice, values: NDArray[np.uint8]) -> None:
        mask[rows, columns] = values

    yield keep
    out.write(name, mask_png(mask))
