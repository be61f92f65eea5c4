from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deft.contracts import InputError
from deft.data import video as video_module
from deft.data.video import is_video, opened_video, video_writer
from fakes import uninstall

UNEVEN = [Fraction(n * n, 25) + Fraction(n, 30) for n in range(8)]
"""Times of a video without a fixed rate, in seconds."""
WHOLE = 65536
"""1 in the matrix of an MP4."""


def corner(height: int, width: int) -> np.ndarray:
    """Black, with a red upper left corner."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 3, : width // 3, 0] = 255
    return pixels


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("av")
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with video_writer(path, (31, 45)) as put:
        for seconds in UNEVEN:
            put(corner(31, 45), seconds)
    return path


def reds(pixels: np.ndarray) -> tuple[bool, ...]:
    """Which corners are red: upper left and right, lower left and right."""
    return tuple(bool(pixels[y, x, 0] > 150) for y in (3, -4) for x in (3, -4))


def test_frames_and_times_come_back(clip: Path) -> None:
    with opened_video(clip) as video:
        assert (video.expected, video.has_sound) == (8, False)
        frames = list(video.frames)
    assert [frame.seconds for frame in frames] == UNEVEN
    for frame in frames:
        assert frame.pixels.shape == (32, 46, 3)  # odd sides are filled up
        assert reds(frame.pixels) == (True, False, False, False)


@pytest.mark.parametrize(
    ("matrix", "size", "corners"),
    [
        ((0, 1, -1, 0), (46, 32), (False, True, False, False)),  # a quarter turn clockwise
        ((-1, 0, 0, -1), (32, 46), (False, False, False, True)),
        ((0, -1, 1, 0), (46, 32), (False, False, True, False)),
        ((-1, 0, 0, 1), (32, 46), (False, True, False, False)),  # mirrored
        ((0, 1, 1, 0), (46, 32), (True, False, False, False)),
    ],
)
def test_a_turned_video_is_read_upright(
    matrix: tuple[int, int, int, int], size: tuple[int, int], corners: tuple[bool, ...], clip: Path, tmp_path: Path
) -> None:
    content, (a, b, c, d) = clip.read_bytes(), (WHOLE * number for number in matrix)
    upright = struct.pack(">9i", WHOLE, 0, 0, 0, WHOLE, 0, 0, 0, 1 << 30)
    place = content.index(upright, content.index(b"tkhd"))
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = tmp_path / "turned.mp4"
    path.write_bytes(content[:place] + turned + content[place + len(turned) :])
    with opened_video(path) as video:
        frames = list(video.frames)
    assert [frame.seconds for frame in frames] == UNEVEN
    assert frames[0].pixels.shape[:2] == size
    assert reds(frames[0].pixels) == corners


@pytest.mark.parametrize("kind", ["avi", "matroska", "mpegts"])
def test_other_containers_with_sound(kind: str, tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    path = tmp_path / "clip.bin"
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream("mpeg4", rate=10)
        sound = container.add_stream("mp2", rate=44100)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corner(24, 32), "rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4608), np.int16), "s16", "stereo")
        silence.sample_rate = 44100
        container.mux(sound.encode(silence))
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    with opened_video(path) as video:
        frames = list(video.frames)
        assert video.has_sound
    assert [float(frame.seconds) for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-3)


def test_a_video_that_ends_early_says_so_after_its_frames(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    path, first, found = tmp_path / "cut.mp4", tmp_path / "first.mp4", []
    with video_writer(path, (64, 64)) as put:
        for pixels, seconds in zip(noise, UNEVEN, strict=True):
            put(pixels, seconds)
    how = {"movflags": "faststart"}  # the index comes before the pictures, which are then cut
    with av.open(str(path)) as source, av.open(str(first), "w", format="mp4", options=how) as into:
        stream = into.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                into.mux(packet)
    path.write_bytes(first.read_bytes()[: round(0.7 * first.stat().st_size)])
    said = r"cut\.mp4: (it ends after \d of the 8 frames|no video, or damaged)"
    with pytest.raises(InputError, match=said), opened_video(path) as video:
        for frame in video.frames:
            found.append(frame.seconds)
    assert 3 <= len(found) < 8
    assert found == UNEVEN[: len(found)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a video, got an empty file"),
        (b"no video" * 500, "no video, or damaged"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "no video, or damaged|found no pictures"),
        (b"\x1aE\xdf\xa3" + bytes(300), "no video, or damaged|found no pictures"),
    ],
)
def test_what_is_no_video_is_one_message(content: bytes, said: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.mp4: ({said}|.*{said})"), opened_video(path) as video:
        list(video.frames)


def test_pictures_in_an_unknown_code_are_told(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    path = tmp_path / "a.mov"
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"jpeg", b"zzzz"))
    said = r"a\.mov: its pictures are in a code that FFmpeg does not know"
    with pytest.raises(InputError, match=said), opened_video(path):
        pass


def test_frames_without_a_unit_of_time_are_in_order(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def untimed(*given: Any) -> Iterator[SimpleNamespace]:
        for frame in decoded(*given):
            picture = {"width": frame.width, "height": frame.height, "to_ndarray": frame.to_ndarray, "side_data": ()}
            yield SimpleNamespace(pts=frame.pts, time_base=None, **picture)

    decoded = video_module._decoded
    monkeypatch.setattr(video_module, "_decoded", untimed)
    with opened_video(clip) as video:
        times = [frame.seconds for frame in video.frames]
    steps = {after - before for before, after in pairwise(times)}
    assert len(times) == 8 and times[0] == 0 and len(steps) == 1 and steps.pop() > 0


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "stereo")
        silence.sample_rate = 44100
        container.mux([*sound.encode(silence), *sound.encode(None)])
    with pytest.raises(InputError, match="found no pictures in it"), opened_video(path):
        pass


def test_names_of_videos() -> None:
    assert [is_video(Path(name)) for name in ("a.MP4", "a.webm", "a.jpg", "a")] == [True, True, False, False]


def test_a_video_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    pytest.importorskip("av")
    with pytest.raises(OSError, match="No such file"), video_writer(tmp_path / "none" / "a.mp4", (16, 16)) as put:
        put(corner(16, 16), Fraction(0))


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall("av", monkeypatch)
    with pytest.raises(InputError, match=r"pip install 'deft-wsss\[video\]'"), opened_video(tmp_path):
        pass
