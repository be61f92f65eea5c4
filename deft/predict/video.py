"""Masks of a video, or of a folder of its frames, one frame at a time: ``deft predict RUN clip.mp4``.

Masks flicker where a network is undecided. With ``steady``, the probabilities of a frame are averaged with those before
it, with weights that fall by e in so many seconds; objects that move fast leave a trail of that length.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from deft.artifacts import OutFolder, file_stem, mask_png, palette
from deft.contracts import InputError, LabelMap
from deft.data.images import Scaled, read_scaled
from deft.data.scaling import resized_mask, shrunk
from deft.data.video import Frame, opened_video, video_writer
from deft.engine.precision import AUTO
from deft.predict.masks import RECORDED, Predictor, load
from deft.predict.photographs import photographs, reads
from deft.ranges import Range, check_ranges
from deft.report.overlay import legend, overlay
from deft.segment.inference import labelled

_NAME = re.compile(r"\d{6,}\.png")


@dataclass(frozen=True)
class Moving:
    """Settings of videos."""

    steady: Annotated[float, Range(0, 60)] = 0.0
    """Seconds over which probabilities are averaged; 0 segments each frame alone."""
    rate: Annotated[float, Range(0.01, 1000)] = 25.0
    """Frames a second of a folder of frames; a video has its own times."""

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        check_ranges(self)


class Segmented(NamedTuple):
    """A frame with its mask."""

    read: Scaled
    labels: LabelMap
    """As large as the frame."""
    seconds: Fraction


class _Steadied:
    """The average of the probabilities of a video so far."""

    def __init__(self, steady: float) -> None:
        self._steady, self._before = steady, Fraction(0)
        self._mean: Tensor | None = None
        self._size = (0, 0)

    def take(self, probabilities: Tensor, seconds: Fraction, size: tuple[int, int]) -> Tensor:
        """The average with a frame; a frame of another size begins anew."""
        mean = self._mean
        if self._steady and mean is not None and size == self._size:
            kept = math.exp(-float(seconds - self._before) / self._steady)
            probabilities = kept * mean + (1 - kept) * probabilities
        self._mean, self._before, self._size = probabilities, seconds, size
        return probabilities


def segmented(predictor: Predictor, frames: Iterator[Frame], moving: Moving | None = None) -> Iterator[Segmented]:
    """The masks of frames, in their order; one frame is in memory at a time.

    Args:
        predictor: a network; its ``max_side`` counts.
        frames: upright, with rising times.
        moving: how far masks are steadied.
    """
    steadied = _Steadied((moving or Moving()).steady)
    for frame in frames:
        pixels = shrunk(frame.pixels, predictor.max_side)
        found = predictor.inference.probabilities(predictor.network, pixels, precision=predictor.precision)
        size = (frame.pixels.shape[0], frame.pixels.shape[1])
        labels = labelled(steadied.take(found, frame.seconds, size), predictor.classes, size)
        yield Segmented(Scaled(pixels, size), labels, frame.seconds)


def predict_video(
    run: Path,
    source: Path,
    out: Path,
    precision: str = AUTO,
    max_side: int | None = RECORDED,
    moving: Moving | None = None,
) -> int:
    """Write the masks of a video and a video of overlays.

    ``masks/NAME/000000.png`` and so on are palette PNGs of the frames' size, ``masks/NAME.csv`` has the time of each,
    and ``overlays/NAME.mp4`` shows them over the frames, at the same times and without sound.

    Args:
        run: as for :func:`deft.predict.masks.load`.
        source: a video, or a folder of frames in the order of their names.
        out: where to write.
        precision: as for :func:`deft.predict.masks.load`.
        max_side: as for :func:`deft.predict.masks.load`.
        moving: how far masks are steadied, and the rate of a folder of frames.

    Returns:
        The number of frames.

    Raises:
        InputError: there is no frame, or the video is damaged (frames before that are done).
    """
    moving = moving or Moving()
    stem = file_stem(source.name if source.is_dir() else source.stem)
    places = reads(source, photographs(source), None) if source.is_dir() else iter([source])
    there = _earlier(out, stem)
    made = OutFolder(out, places, [f"masks/{stem}.csv", f"overlays/{stem}.mp4", *there])
    predictor = load(run, precision=precision, max_side=max_side)
    times: list[Fraction] = []
    fault: InputError | None = None
    with _frames(source, moving) as (frames, expected), tqdm(total=expected, unit="frame", desc="predict") as bar:
        found = segmented(predictor, frames, moving)
        first = next(found)
        key = legend(predictor.classes, palette()[1 : len(predictor.classes) + 1], first.read.pixels.shape[1])
        picture = _picture(first, key)
        size = (picture.shape[0], picture.shape[1])
        with made.part(f"overlays/{stem}.mp4") as path, video_writer(path, size) as put:
            frame: Segmented | None = first
            while frame is not None:
                made.write(f"masks/{stem}/{len(times):06d}.png", mask_png(frame.labels.mask))
                put(_fitted(_picture(frame, key), size), frame.seconds)
                times.append(frame.seconds)
                bar.update()
                try:
                    frame = next(found, None)
                except InputError as error:  # what was read before is kept
                    fault, frame = error, None
    made.write(f"masks/{stem}.csv", _table(times))
    for name in there:
        if int(Path(name).stem) >= len(times):
            made.discard(name)
    if fault is not None:
        raise InputError(f"{len(times)} frames are done; {fault}")
    return len(times)


@contextmanager
def _frames(source: Path, moving: Moving) -> Iterator[tuple[Iterator[Frame], int | None]]:
    """The frames of a video or a folder, and how many there are if that is known."""
    if source.is_dir():
        paths, step = photographs(source, tell=True).paths, 1 / Fraction(moving.rate).limit_denominator(100_000)
        yield (Frame(read_scaled(path, None).pixels, index * step) for index, path in enumerate(paths)), len(paths)
        return
    with opened_video(source) as video:
        if video.has_sound:
            print("the sound of the video is left out", file=sys.stderr)
        yield video.frames, video.expected


def _earlier(out: Path, stem: str) -> list[str]:
    """Names of the masks that are there already, of frames of an earlier command."""
    folder = out / "masks" / stem
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [f"masks/{stem}/{name}" for name in found if _NAME.fullmatch(name)]


def _picture(frame: Segmented, key: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame with its mask over it, and the names of all classes below."""
    pixels = frame.read.pixels
    mask = resized_mask(frame.labels.mask, (pixels.shape[0], pixels.shape[1]))
    below = _fitted(key, (key.shape[0], pixels.shape[1]))
    return np.concatenate([overlay(pixels, mask), below])


def _fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture at the size of the first one: a stream may change its size, a written video may not."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _table(times: list[Fraction]) -> bytes:
    """The time of each frame, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("frame", "seconds"))
    writer.writerows((f"{index:06d}", f"{float(seconds):.6f}") for index, seconds in enumerate(times))
    return text.getvalue().encode()
