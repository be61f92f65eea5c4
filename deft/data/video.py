"""Videos as streams of upright frames with their times, and back: the only module that imports PyAV.

PyAV brings FFmpeg. Frames are decoded one at a time, in the order in which they are shown; their times are those of the
file, so that a variable frame rate is kept. Sound is not read.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError
from deft.guards.opening import open_regular
from deft.guards.pictures import MAX_PIXELS, too_many
from deft.guards.words import shown

SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
        *(".wmv", ".flv", ".3gp", ".ogv"),
    )
)
"""Suffixes of videos, in lower case."""
ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""Encoders of the videos that are written, the first that FFmpeg was built with. x264 is under the GPL, and in PyAV's
own packages; mpeg4 is part of FFmpeg under the LGPL, and always there."""
_UNIT = Fraction(1, 60_000)
"""Unit of the times of a written video, in seconds; one that players and the encoders take."""
_TIMED_BY_TABLE = ("mov", "mp4")
"""Containers whose number of frames is a table of the file, and no guess."""


class Frame(NamedTuple):
    """A picture of a video."""

    pixels: NDArray[np.uint8]
    """RGB, uint8 (H, W, 3), upright."""
    seconds: Fraction
    """When it is shown, after the first one."""


@dataclass(frozen=True)
class Video:
    """A video that was opened by :func:`opened_video`."""

    frames: Iterator[Frame]
    expected: int | None
    """Number of frames that the file declares; None if it does not say."""
    has_sound: bool


@contextmanager
def opened_video(path: Path) -> Iterator[Video]:
    """Open a video; its frames are decoded when they are asked for.

    Raises:
        InputError: PyAV is not installed, or the file is no video, empty or damaged, also while frames are read.
    """
    av = _av()
    with open_regular(path) as file:
        if file.seek(0, os.SEEK_END) == 0:
            raise InputError(f"{shown(path)}: expected a video, got an empty file; copy it again from its source")
        file.seek(0)
        with _told(av, path), av.open(file, mode="r", metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError(f"{shown(path)}: expected a video, found no pictures in it; name another file")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise InputError(
                    f"{shown(path)}: its pictures are in a code that FFmpeg does not know, or its header is damaged; "
                    "convert it to H.264, or copy it again from its source"
                )
            by_table = any(name in container.format.name.split(",") for name in _TIMED_BY_TABLE)
            expected = stream.frames if by_table and stream.frames > 0 else None
            frames = _frames(av, container, stream, path, expected)
            yield Video(frames, expected or stream.frames or None, bool(container.streams.audio))


@contextmanager
def video_writer(path: Path, size: tuple[int, int]) -> Iterator[Callable[[NDArray[np.uint8], Fraction], None]]:
    """Write an MP4 without sound.

    Players take only even sides: a row or column is repeated where one is missing.

    Args:
        path: a file that is not there yet.
        size: (H, W) of the frames.

    Yields:
        A function of RGB, uint8 (H, W, 3), and its time in seconds, which rises.

    Raises:
        InputError: PyAV is not installed.
        OSError: the file cannot be written.
    """
    av = _av()
    height, width = (side + side % 2 for side in size)
    try:
        with av.open(str(path), mode="w", format="mp4") as container:
            name = next(name for name in ENCODERS if name in av.codecs_available)
            stream = container.add_stream(name, rate=30)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = _UNIT
            # Frames are stored in the order in which they are shown, so that times begin at 0.
            stream.options = {"bf": "0", "crf": "20", "preset": "veryfast"} if name == "libx264" else {"qscale": "3"}
            stream.thread_type = "NONE"

            def put(pixels: NDArray[np.uint8], seconds: Fraction) -> None:
                missing = ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0))
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.pad(pixels, missing, "edge")), "rgb24")
                frame.pts, frame.time_base = round(seconds / _UNIT), _UNIT
                container.mux(stream.encode(frame))

            yield put
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise OSError(error.errno or errno.EIO, error.strerror, str(path)) from None


def _frames(av: Any, container: Any, stream: Any, path: Path, expected: int | None) -> Iterator[Frame]:
    """The frames of a video, and a message at its end if some are missing."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    first: Fraction | None = None
    before = Fraction(-1)
    packets, frames = [0], 0
    with _told(av, path):
        for frame in _decoded(av, container, stream, packets):
            if frame.width * frame.height > MAX_PIXELS:
                raise too_many(path, f"{frame.width} x {frame.height} pixels")
            timed = frame.pts is not None and frame.time_base is not None  # neither, if tables are damaged
            at = frame.pts * frame.time_base if timed else None
            first = (at or Fraction(0)) if first is None else first
            seconds = before + 1 / rate if at is None else at - first
            if seconds <= before:  # damaged times: frames stay in order
                seconds = before + 1 / rate
            before = max(Fraction(0), seconds)
            frames += 1
            yield Frame(_upright(frame), before)
    if not frames:
        raise InputError(f"{shown(path)}: expected a video, found no frame in it; copy it again from its source")
    if expected is not None and packets[0] < expected:
        raise InputError(
            f"{shown(path)}: it ends after {packets[0]} of the {expected} frames that it declares; copy it again from "
            "its source"
        )


def _decoded(av: Any, container: Any, stream: Any, packets: list[int]) -> Iterator[Any]:
    """The frames of a stream; if it is damaged, those before that come first, which the decoder may have kept back."""
    try:
        for packet in container.demux(stream):
            packets[0] += bool(packet.size)
            yield from packet.decode()
    except av.error.FFmpegError as error:
        if not isinstance(error, EOFError):
            with suppress(av.error.FFmpegError):
                yield from stream.codec_context.decode(None)
            raise


def _upright(frame: Any) -> NDArray[np.uint8]:
    """RGB of a frame as it is shown: turned and mirrored by the matrix that cameras write."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    matrix = next((bytes(data) for data in frame.side_data if "DISPLAYMATRIX" in str(data.type)), b"")
    if len(matrix) < 36:
        return pixels
    a, b, _, c, d = np.frombuffer(matrix[:36], dtype=np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):  # x and y change places: a quarter turn
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def is_video(path: Path) -> bool:
    """Whether a file has the name of a video."""
    return path.suffix.lower() in SUFFIXES


def _av() -> Any:
    try:
        import av
        import av.logging
    except ImportError:
        raise InputError("videos are read and written by PyAV; pip install 'deft-wsss[video]'") from None
    av.logging.set_level(None)  # what FFmpeg says is told once, as an error
    return av


@contextmanager
def _told(av: Any, path: Path) -> Iterator[None]:
    """Within, an error of FFmpeg becomes an InputError."""
    try:
        yield
    except av.error.FFmpegError as error:  # among them a lack of memory: damaged headers ask for any amount
        raise InputError(
            f"{shown(path)}: no video, or damaged ({error.strerror}); copy it again from its source, or remove it"
        ) from None
