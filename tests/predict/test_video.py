from __future__ import annotations

import csv
import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deft
from deft.artifacts import load_mask
from deft.contracts import InputError
from deft.data.video import Frame, opened_video, video_writer
from deft.predict.video import Moving, predict_video, segmented
from deft.segment.deeplab import save_network
from fakes import segmenter

TIMES = [Fraction(n * n, 50) for n in range(6)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "segment" / "model.safetensors"
    frame = np.asarray(Image.fromarray(scene(0)).resize((64, 48), Image.Resampling.BICUBIC))
    save_network(path, segmenter(image=frame), ("cat", "cow", "dog"), "key")
    return path.parent.parent


def scene(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (45, 63, 3), dtype=np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    pytest.importorskip("av")
    (tmp_path / "clips").mkdir()
    path = tmp_path / "clips" / "walk.mp4"
    with video_writer(path, (45, 63)) as put:
        for index, seconds in enumerate(TIMES):
            put(scene(index), seconds)
    return path


def test_a_video_becomes_masks_and_a_video(
    network: Path, clip: Path, tmp_path: Path, tree_state: Callable[[Path], str]
) -> None:
    before, out = tree_state(clip.parent), tmp_path / "out"
    assert predict_video(network, clip, out, precision="32-true") == 6
    assert tree_state(clip.parent) == before
    with opened_video(clip) as video:
        frames = list(video.frames)
    predictor = deft.load(network, precision="32-true")
    for index, frame in enumerate(frames):
        mask = load_mask(out / "masks" / "walk" / f"{index:06d}.png")
        assert mask.shape == (46, 64) and np.array_equal(mask, predictor.predict(frame.pixels).mask)
    with open(out / "masks" / "walk.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == [f"{index:06d}" for index in range(6)]
    assert [float(row["seconds"]) for row in rows] == pytest.approx([float(at) for at in TIMES])
    with opened_video(out / "overlays" / "walk.mp4") as video:
        written = list(video.frames)
    assert [frame.seconds for frame in written] == TIMES
    height, width = written[0].pixels.shape[:2]
    assert (height > 46, width, height % 2) == (True, 64, 0)  # below a frame are the names of the classes


def test_frames_of_a_folder_and_what_an_earlier_command_made(network: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    folder, out = tmp_path / "frames", tmp_path / "out"
    folder.mkdir()
    for index in range(4):
        Image.fromarray(scene(index)).save(folder / f"{index:03d}.png")
    assert predict_video(network, folder, out, moving=Moving(rate=8)) == 4
    with opened_video(out / "overlays" / "frames.mp4") as video:
        assert [frame.seconds for frame in video.frames] == [Fraction(index, 8) for index in range(4)]
    (folder / "003.png").unlink()
    assert predict_video(network, folder, out, moving=Moving(rate=8)) == 3
    assert sorted(path.name for path in (out / "masks" / "frames").iterdir()) == [f"{n:06d}.png" for n in range(3)]
    Image.new("L", (4, 4)).save(out / "masks" / "frames" / "000002.png")
    with pytest.raises(InputError, match=r"expected a folder without masks/frames/000002\.png"):
        predict_video(network, folder, out)
    (folder / "002.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^2 frames are done; .*002\.png: not an image"):
        predict_video(network, folder, tmp_path / "broken")
    assert len(list((tmp_path / "broken" / "masks" / "frames").iterdir())) == 2
    with opened_video(tmp_path / "broken" / "overlays" / "frames.mp4") as video:
        assert len(list(video.frames)) == 2


def test_steadied_masks_are_those_of_averaged_probabilities(network: Path) -> None:
    predictor = deft.load(network, precision="32-true")
    frames = [Frame(scene(index), seconds) for index, seconds in enumerate(TIMES)]
    frames.append(Frame(scene(0)[:40], Fraction(1)))  # of another size: nothing to average with
    found = list(segmented(predictor, iter(frames), Moving(steady=0.2)))
    mean: torch.Tensor | None = None
    for index, frame in enumerate(frames[:6]):
        own = predictor.inference.probabilities(predictor.network, frame.pixels)
        kept = 0.0 if mean is None else math.exp(-float(TIMES[index] - TIMES[index - 1]) / 0.2)
        mean = own if mean is None else kept * mean + (1 - kept) * own
        fine = torch.nn.functional.interpolate(mean[None], size=(45, 63), mode="bilinear", align_corners=False)[0]
        assert np.mean(found[index].labels.mask != fine.argmax(dim=0).numpy()) < 1e-3
    assert np.array_equal(found[6].labels.mask, predictor.predict(scene(0)[:40]).mask)
    alone = [one.labels.mask for one in segmented(predictor, iter(frames[:6]))]
    assert np.array_equal(alone[3], predictor.predict(scene(3)).mask)

    def changes(masks: list[np.ndarray]) -> float:
        return float(np.mean([np.mean(one != two) for one, two in pairwise(masks)]))

    assert len(np.unique(alone[0])) > 1
    assert changes([one.labels.mask for one in found[:6]]) < changes(alone)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steady": -0.1}, r"Moving\.steady: expected a number from 0 to 60, got -0\.1"),
        ({"steady": float("nan")}, r"Moving\.steady: expected a number"),
        ({"rate": 0.0}, r"Moving\.rate: expected a number from 0\.01 to 1,000, got 0"),
        ({"rate": float("inf")}, r"Moving\.rate: expected"),
    ],
)
def test_settings_out_of_their_ranges_are_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Moving(**fields)
