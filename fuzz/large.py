"""Videos, and TIFFs that are read in windows: whole and damaged, of every layout that is read."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from deft.contracts import InputError
from deft.data.raster import Channels
from deft.data.video import opened_video
from deft.data.windows import opened
from fuzz.damage import damaged, sometimes_damaged
from fuzz.pictures import picture
from fuzz.reader import Reader

_SIDE, _FRAMES = 16, 4
_MOST_FRAMES = 200
"""Frames after which reading a video ends: a damaged table may announce millions."""
_CHANNELS = (Channels(), Channels(bands=(1, 2, 3)), Channels(values=(0.0, 1000.0)), Channels((2, 1, 1), (0.0, 9.0)))


@cache
def _videos() -> list[bytes]:
    return list(_encoded())


def _encoded() -> Iterator[bytes]:
    """Videos of four frames, in common containers and codecs."""
    import av

    pixels = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    kinds = (("mp4", "mpeg4"), ("mov", "mjpeg"), ("avi", "mpeg4"), ("matroska", "ffv1"), ("mpegts", "mpeg2video"))
    for container, codec in kinds:
        buffer = io.BytesIO()
        with av.open(buffer, mode="w", format=container) as file:
            stream: Any = file.add_stream(codec, rate=25)
            stream.width = stream.height = _SIDE
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for index in range(_FRAMES):
                frame = av.VideoFrame.from_ndarray(np.roll(pixels, index, axis=1), "rgb24")
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        yield buffer.getvalue()


@cache
def _tiffs() -> list[bytes]:
    return list(_written())


def _written() -> Iterator[bytes]:
    """TIFFs in strips and tiles, of several types, compressions and bands, with and without a place on the map."""
    import rasterio
    from rasterio.transform import from_origin

    rng = np.random.default_rng(0)
    place: dict[str, Any] = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 10, 10)}
    layouts: tuple[tuple[int, str, dict[str, Any]], ...] = (
        (3, "uint8", {}),
        (3, "uint8", {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate", **place}),
        (4, "uint8", {"compress": "lzw", "photometric": "RGB", "alpha": "yes"}),
        (1, "uint8", {"compress": "packbits", "nodata": 0}),
        (4, "uint16", {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw", "predictor": 2, **place}),
        (2, "float32", {"compress": "deflate", "predictor": 3, "nodata": float("nan")}),
        (3, "uint8", {"BIGTIFF": "YES", "compress": "jpeg", "tiled": True, "blockxsize": 16, "blockysize": 16}),
        (1, "int16", {"compress": "zstd", **place}),
        (3, "uint8", {"interleave": "band"}),
    )
    with tempfile.TemporaryDirectory() as folder:
        for index, (bands, kind, options) in enumerate(layouts):
            path = Path(folder) / f"{index}.tif"
            values = rng.integers(0, 200, (bands, 24, 40)).astype(kind)
            facts = {"count": bands, "dtype": kind, "height": 24, "width": 40}
            with rasterio.open(path, "w", driver="GTiff", **facts, **options) as file:
                file.write(values)
            yield path.read_bytes()
    yield from (picture("TIFF", mode) for mode in ("RGB", "L", "CMYK", "1"))


def _watch(path: Path) -> None:
    with opened_video(path) as video:
        before = Fraction(-1)
        for number, frame in enumerate(video.frames):
            if frame.pixels.dtype != np.uint8 or frame.pixels.ndim != 3 or frame.pixels.shape[2] != 3:
                raise AssertionError(f"pixels {frame.pixels.shape} of {frame.pixels.dtype}")
            if frame.seconds <= before:
                raise AssertionError(f"a frame at {frame.seconds} s behind one at {before} s")
            before = frame.seconds
            if number == _MOST_FRAMES:
                break


def _look_in_windows(path: Path) -> None:
    """Read the first, the last and a scaled window with several choices of bands; one of them has to be right."""
    failed = None
    for channels in _CHANNELS:
        try:
            with opened(path, channels=channels) as photograph:
                height, width = photograph.windows.size
                for top, left in ((0, 0), (max(0, height - 9), max(0, width - 11))):
                    rows, columns = slice(top, min(height, top + 9)), slice(left, min(width, left + 11))
                    found = photograph.windows.window(rows, columns)
                    if found.shape != (rows.stop - top, columns.stop - left, 3) or found.dtype != np.uint8:
                        raise AssertionError(f"a window {found.shape} of {found.dtype}")
                    if photograph.raster is not None:
                        photograph.raster.valid(rows, columns)
                if height * width <= 4096:  # all of it is read
                    size = (max(1, height // 3), max(1, width // 3))
                    photograph.view(size, slice(0, size[0]), slice(0, size[1]))
        except InputError as error:
            failed = error
        else:
            failed = None
            break
    if failed is not None:
        raise failed


_video = st.integers(0, 4).map(lambda index: _videos()[index])
_tiff = st.integers(0, 12).map(lambda index: _tiffs()[index])
READERS = (
    Reader(
        "videos",
        st.one_of(sometimes_damaged(_video), damaged(_video)).map(lambda data: {"a.mp4": data}),
        lambda folder: _watch(folder / "a.mp4"),
        share=0.2,
    ),
    Reader(
        "windows",
        st.one_of(sometimes_damaged(_tiff), damaged(_tiff)).map(lambda data: {"a.tif": data}),
        lambda folder: _look_in_windows(folder / "a.tif"),
        share=0.5,
    ),
)
