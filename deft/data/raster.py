"""Images of any size read in windows, and masks written in windows: the only module that imports rasterio.

rasterio brings GDAL, which reads the tiles or strips of a TIFF that a window needs, and writes masks that keep the
place of a GeoTIFF on the map. JPEGs and PNGs can only be read from their top; it decodes them a strip at a time.
"""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from deft.contracts import IGNORE, InputError
from deft.guards.opening import check_regular
from deft.guards.words import first_line, shown

_CACHE = 128
"""MB of decoded blocks that GDAL keeps."""
_BLOCK = 512
"""Side of the tiles of a mask, in pixels."""
_LARGEST_BLOCK = 400_000_000
"""Most bytes of a block of a TIFF, which is decoded at once."""
_MOST = 20_000_000_000
"""Most pixels of a TIFF; the header of a small file can claim any size."""
_MOST_BANDS = 4096
"""Most bands of a TIFF; hyperspectral cameras have some hundreds, and each costs time at the opening."""
_STRIP = 256
"""Rows of a JPEG or PNG that are decoded at a time."""
_OPTIONS = {
    "GDAL_CACHEMAX": _CACHE,
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",  # damage would be a warning
    "GDAL_ALLOW_LARGE_LIBJPEG_MEM_ALLOC": "YES",  # a progressive JPEG is decoded whole
}


@dataclass(frozen=True)
class Channels:
    """What of a raster becomes red, green and blue."""

    bands: tuple[int, ...] = ()
    """Three bands, or one for grey, counted from 1; empty for those that the file declares as colours."""
    values: tuple[float, float] | None = None
    """Values that become 0 and 255; None for bands of 8 bits, which stay as they are."""

    def __post_init__(self) -> None:
        """Refuse what is no choice of bands, or no range."""
        if len(self.bands) not in (0, 1, 3) or any(band < 1 for band in self.bands):
            raise InputError(
                f"--bands: expected three bands for red, green and blue, or one for grey, counted from 1, got "
                f"{','.join(map(str, self.bands))}"
            )
        if self.values is not None and not (np.isfinite(self.values).all() and self.values[0] < self.values[1]):
            raise InputError(
                f"--values: expected two numbers that rise, the darkest and the brightest value, got "
                f"{self.values[0]:g},{self.values[1]:g}"
            )


class Raster:
    """A TIFF that is read in windows; made by :func:`opened_raster`."""

    def __init__(self, dataset: Any, where: str, channels: Channels) -> None:
        """Check that its bands can become RGB.

        Raises:
            InputError: they cannot; the message says what to name.
        """
        self._dataset, self._where = dataset, where
        self.size: tuple[int, int] = (dataset.height, dataset.width)
        _check_size(dataset, where)
        self._colours = _palette(dataset) if not channels.bands else None
        self._bands = channels.bands or _declared_bands(dataset, where)
        missing = [band for band in self._bands if band > dataset.count]
        if missing:
            raise InputError(f"{where}: expected bands from 1 to {dataset.count}, got {missing[0]}; correct --bands")
        kinds = {str(np.dtype(dataset.dtypes[band - 1])) for band in self._bands}
        if any("complex" in kind for kind in kinds):
            raise InputError(f"{where}: expected bands of real numbers, got complex ones; name others with --bands")
        self._values = channels.values
        if self._values is None and kinds != {"uint8"}:
            raise InputError(
                f"{where}: expected bands of 8 bits, got {', '.join(sorted(kinds))}; say which values are black and "
                "white with --values LOW,HIGH, such as 0,65535 for a photograph or 0,3000 for reflectances"
            )
        self._all_valid = all(self._is_valid(band) for band in self._bands)

    def window(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """RGB, uint8 (rows, columns, 3).

        Raises:
            InputError: the file is damaged there.
        """
        found = self._read(rows, columns)
        if self._values is not None:
            low, high = self._values
            scaled = (np.nan_to_num(found.astype(np.float64), nan=low, posinf=high, neginf=low) - low) / (high - low)
            found = np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
        if self._colours is not None:
            coloured: NDArray[np.uint8] = self._colours[found[0]]
            return coloured
        return np.ascontiguousarray(np.broadcast_to(found, (3, *found.shape[1:])).transpose(1, 2, 0))

    def valid(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """Which pixels have data, (rows, columns); None if all have: those of no file are left out of the mask."""
        if self._all_valid:
            return None
        with _told(self._where):
            masks = self._dataset.read_masks(list(self._bands), window=_window(rows, columns))
        there: NDArray[np.bool_] = (masks > 0).any(axis=0)
        if any(np.dtype(kind).kind == "f" for kind in self._dataset.dtypes):
            there &= np.isfinite(self._read(rows, columns)).all(axis=0)
        return there

    @property
    def is_placed(self) -> bool:
        """Whether it has a place on the map."""
        return bool(self._dataset.crs or self._dataset.gcps[0] or not self._dataset.transform.is_identity)

    def place(self) -> dict[str, Any]:
        """Where it lies on the map, for :func:`mask_writer`; empty if it says nothing."""
        points, system = self._dataset.gcps
        if points:
            return {"gcps": points, "crs": system}
        return {"crs": self._dataset.crs, "transform": self._dataset.transform} if self.is_placed else {}

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        with _told(self._where):
            found: NDArray[Any] = self._dataset.read(list(self._bands), window=_window(rows, columns))
        return found

    def _is_valid(self, band: int) -> bool:
        from rasterio.enums import MaskFlags

        floats = np.dtype(self._dataset.dtypes[band - 1]).kind == "f"
        return MaskFlags.all_valid in self._dataset.mask_flag_enums[band - 1] and not floats


@contextmanager
def opened_raster(path: Path, channels: Channels) -> Iterator[Raster]:
    """Open a TIFF, BigTIFF or GeoTIFF; nothing but its header is read.

    Raises:
        InputError: rasterio is not installed, the file is damaged, or its bands cannot become RGB.
    """
    where = shown(path)
    with _gdal() as rasterio, _told(where), _dataset(rasterio, path, "GTiff") as dataset:
        yield Raster(dataset, where, channels)


def decode_strips(path: Path, kind: str, file: BinaryIO) -> None:
    """Decode a JPEG or PNG a strip of rows at a time, and write its pixels, RGB, uint8, row by row.

    Args:
        path: the image.
        kind: ``JPEG`` or ``PNG``.
        file: where the pixels go.

    Raises:
        InputError: rasterio is not installed, or the image is damaged.
    """
    where = shown(path)
    with _gdal() as rasterio, _told(where), _dataset(rasterio, path, kind) as dataset:
        colours = _palette(dataset)
        for top in range(0, dataset.height, _STRIP):
            rows = slice(top, min(top + _STRIP, dataset.height))
            found = dataset.read(window=_window(rows, slice(0, dataset.width)))
            if found.dtype == np.uint16:
                found = ((found.astype(np.uint32) + 128) // 257).astype(np.uint8)
            file.write(colours[found[0]].tobytes() if colours is not None else _on_white(found).tobytes())


@contextmanager
def mask_writer(
    path: Path, size: tuple[int, int], classes: Sequence[str], colours: NDArray[np.uint8], place: dict[str, Any]
) -> Iterator[Callable[[slice, slice, NDArray[np.uint8]], None]]:
    """Write a mask as a tiled, compressed GeoTIFF with a palette, a window at a time.

    Args:
        path: a file that is not there yet.
        size: (H, W).
        classes: names of the K classes, which the file keeps as ``CLASS_1`` and so on.
        colours: uint8 (256, 3), the colour of each value.
        place: of :meth:`Raster.place`.

    Yields:
        A function of rows, columns and values.

    Raises:
        InputError: rasterio is not installed.
        OSError: the file cannot be written.
    """
    with _gdal() as rasterio:
        try:
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=size[0],
                width=size[1],
                count=1,
                dtype="uint8",
                nodata=IGNORE,
                tiled=True,
                blockxsize=_BLOCK,
                blockysize=_BLOCK,
                compress="deflate",
                BIGTIFF="IF_SAFER",
                **place,
            ) as dataset:
                dataset.write_colormap(1, {value: (*map(int, colour), 255) for value, colour in enumerate(colours)})
                dataset.update_tags(**{f"CLASS_{value}": name for value, name in enumerate(classes, 1)})
                yield lambda rows, columns, mask: dataset.write(mask, 1, window=_window(rows, columns))
        except rasterio.errors.RasterioError as error:
            raise OSError(errno.EIO, first_line(error), str(path)) from None


@contextmanager
def _gdal() -> Iterator[Any]:
    """The module rasterio, with GDAL's settings."""
    try:
        import rasterio
        import rasterio.errors
    except ImportError:
        raise InputError(
            "TIFFs in tiles, and photographs of more than 80 million pixels, are read by rasterio, which is not "
            "installed; pip install 'deft-wsss[geo]'"
        ) from None
    logging.getLogger("rasterio").addHandler(logging.NullHandler())  # what GDAL says is told once, as an error
    with warnings.catch_warnings(), rasterio.Env(**_OPTIONS):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield rasterio


@contextmanager
def _dataset(rasterio: Any, path: Path, driver: str) -> Iterator[Any]:
    """An image that is opened to be read, by the driver of its format alone: others follow links in files."""
    check_regular(path)
    with rasterio.open(path.absolute(), driver=driver) as dataset:
        yield dataset


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Within, an error of rasterio becomes an InputError."""
    try:
        yield
    except Exception as error:
        # GDAL's own errors, which facts of a damaged header raise, share no public class with rasterio's.
        if not (type(error).__module__.startswith("rasterio") or isinstance(error, UnicodeDecodeError)):
            raise
        cause = error.__cause__ or error
        raise InputError(
            f"{where}: damaged, or stored in a way that is not read ({first_line(cause)}); copy it again from its "
            "source, or remove it"
        ) from None


def _window(rows: slice, columns: slice) -> Any:
    from rasterio.windows import Window

    return Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)


def _check_size(dataset: Any, where: str) -> None:
    if dataset.height * dataset.width > _MOST:
        raise InputError(f"{where}: expected at most {_MOST / 1e9:g} billion pixels, got more; divide it")
    if dataset.count > _MOST_BANDS:
        raise InputError(f"{where}: expected at most {_MOST_BANDS} bands, got {dataset.count}; divide it")
    heights, widths = zip(*dataset.block_shapes, strict=True)
    together = dataset.count if dataset.profile.get("interleave") == "pixel" else 1  # bands that are decoded at once
    size = max(heights) * max(widths) * together * max(np.dtype(kind).itemsize for kind in dataset.dtypes)
    if size > _LARGEST_BLOCK:
        raise InputError(
            f"{where}: it is stored in blocks of {max(widths)} x {max(heights)} pixels, which do not fit into bounded "
            "memory; store it in tiles: gdal_translate -co TILED=YES"
        )


def _palette(dataset: Any) -> NDArray[np.uint8] | None:
    """The colours of the values of a band, (256, 3), over white where they are transparent; None without a palette."""
    from rasterio.enums import ColorInterp

    if dataset.count != 1 or dataset.colorinterp[0] != ColorInterp.palette or dataset.dtypes[0] != "uint8":
        return None
    known = dataset.colormap(1)
    table = np.array([known.get(value, (0, 0, 0, 255)) for value in range(256)], dtype=np.uint8)
    opaque: NDArray[np.uint8] = _on_white(table.T[:, None])[0]
    return opaque


def _declared_bands(dataset: Any, where: str) -> tuple[int, ...]:
    """The bands that a file declares to be colours."""
    from rasterio.enums import ColorInterp

    colours = dataset.count - (dataset.colorinterp[-1] == ColorInterp.alpha)
    if colours in (1, 3):
        return tuple(range(1, colours + 1))
    raise InputError(
        f"{where}: expected one band or three, got {dataset.count}; name those for red, green and blue with --bands, "
        "such as --bands 1,2,3"
    )


def _on_white(found: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bands (1 to 4, rows, columns), grey or RGB, and perhaps opacity, as RGB over white, (rows, columns, 3)."""
    bands = found.transpose(1, 2, 0)
    colours = bands[..., : 3 if bands.shape[2] > 2 else 1]
    if bands.shape[2] in (2, 4):
        opacity = bands[..., -1:].astype(np.uint32)
        colours = ((colours * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))
