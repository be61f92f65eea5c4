"""Stored seeds beside the pickles of full-resolution float32 maps that the published code writes.

Without anything, maps are drawn: what a network's cells would hold, at four scales. With ``DEFT_BENCH_RUN``, a run
folder, they are what its classifier finds in some of its images, and sizes are those of all its stored seeds.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from measure import Row, show
from torch import Tensor

from deft.artifacts import load_seeds, read_json, save_seeds
from deft.contracts import SeedMaps
from deft.engine.head import normalise
from deft.seedmaps import STRIDE, grid, to_mask, upsample
from deft.seeds.views import pixels, resize, sampling

SIZES = ((375, 500), (500, 375), (333, 500), (213, 320), (480, 640))
"""(H, W) of the images drawn: VOC's, MSRC's and COCO's."""
SCALES = (0.5, 1.0, 1.5, 2.0)
THRESHOLDS = (0.15, 0.25)


@dataclass(frozen=True)
class Found:
    """The maps of one image at every pixel and on the grid, before they are stored."""

    classes: tuple[int, ...]
    full: Tensor
    """float32 (P, H, W) in [0, 1]."""
    strided: Tensor
    """float32 (P, h, w) in [0, 1]."""


@dataclass(frozen=True)
class View:
    """What a network's cells hold of one resized view of an image."""

    maps: Tensor
    """Activations, float32 (P, ., .)."""
    seen: tuple[int, int]
    """(H, W) of the view, in pixels."""


def read(views: Sequence[View], size: tuple[int, int], stride: int) -> Tensor:
    """Sum of the views' maps at every ``stride``-th pixel of an image of (H, W) pixels, linear between cells."""
    total = torch.zeros(())
    for view in views:
        rows, columns = (
            sampling(cells, seen, side, stride, 1)
            for cells, seen, side in zip(view.maps.shape[1:], view.seen, size, strict=True)
        )
        total = total + rows @ view.maps @ columns.T
    return total


def drawn(size: tuple[int, int], present: int, seed: int) -> Found:
    """Maps as networks give them: a blob or two a class, uneven, with noise from cell to cell and weak spots elsewhere.

    Args:
        size: (H, W) of the image.
        present: P.
        seed: of the drawing.
    """
    rng = torch.Generator().manual_seed(seed)
    blobs = torch.rand(present, 3, 5, generator=rng)
    views = []
    for scale in SCALES:
        height, width = (max(1, round(side * scale / 16)) + 1 for side in size)
        y, x = torch.linspace(0, 1, height).view(-1, 1), torch.linspace(0, 1, width)
        distance = ((y - blobs[..., 0, None, None]) / (0.08 + 0.2 * blobs[..., 2, None, None])) ** 2
        distance = distance + ((x - blobs[..., 1, None, None]) / (0.08 + 0.2 * blobs[..., 3, None, None])) ** 2
        maps = ((0.3 + blobs[..., 4, None, None]) * (-distance / 2).exp()).sum(1)
        noise = torch.randn(present, 1, height, width, generator=rng)
        noise = noise + 2 * F.avg_pool2d(noise, 3, 1, 1)
        maps = F.relu(maps * (1 + 0.1 * noise[:, 0]) + 0.03 * noise[:, 0] - 0.02)
        views.append(View(maps, ((height - 1) * 16 + 1, (width - 1) * 16 + 1)))
    full, strided = (normalise(read(views, size, stride)) for stride in (1, STRIDE))
    return Found(tuple(range(1, 1 + 3 * present, 3)), full, strided)


@torch.no_grad()
def found_by(run: Path, images: int) -> Iterator[Found]:
    """Maps that a run's classifier finds in images spread over its training split, in float32."""
    from deft.classify.classifier import load_classifier
    from deft.data import open_data
    from deft.pipeline import Pipeline
    from deft.settings import restore

    record = read_json(run / "run.json")
    pipeline = restore(record["settings"])
    if not isinstance(pipeline, Pipeline) or pipeline.classifier is None:
        raise SystemExit(f"DEFT_BENCH_RUN={run}: expected a run with a classifier of its own; name another")
    network = load_classifier(run / "classifier" / "model.safetensors", pipeline.classifier.head)
    head = network.head
    data = open_data(record["data"]["given"]).train
    for index in range(0, len(data), max(1, len(data) // images)):
        sample = data[index]
        classes = tuple(int(k) for k in np.flatnonzero(sample.labels))
        if not classes:
            continue
        size = (sample.image.shape[0], sample.image.shape[1])
        views = []
        for scale in SCALES:
            view = resize(
                pixels(sample.image, torch.device("cpu")), scale, network.backbone.stride, network.backbone.extra
            )
            maps = head.activation(network.backbone(torch.cat([view, view.flip(-1)]))[-1])
            branches = maps.shape[1]
            both = (maps[0] + maps[1].flip(-1)).flatten(0, 1)
            views.append(View(both, (view.shape[-2], view.shape[-1])))
        full, strided = (
            head.combine(torch.stack(read(views, size, stride).chunk(branches)))[list(classes)].clamp(0, 1)
            for stride in (1, STRIDE)
        )
        yield Found(classes, full, strided)


def pickled(found: Found) -> bytes:
    """The published file: a pickled mapping of classes, strided maps and full maps; made to be counted, never read."""
    content = {"keys": np.array(found.classes), "cam": found.strided.numpy(), "high_res": found.full.numpy()}
    buffer = io.BytesIO()
    np.save(buffer, cast(Any, content), allow_pickle=True)
    return buffer.getvalue()


def pickled_size(classes: int, size: tuple[int, int]) -> int:
    """Bytes of the published file for an image of (H, W) pixels with that many classes."""
    cells = grid(size)
    return 4 * classes * (size[0] * size[1] + cells[0] * cells[1]) + OVERHEAD


OVERHEAD = len(pickled(Found((), torch.zeros(0, 1, 1), torch.zeros(0, 1, 1))))
"""Bytes of the published file beside its maps."""


def measured(images: Sequence[Found], what: str) -> Row:
    """Bytes, seconds of writing, and pixels that differ, over some images."""
    theirs_bytes = ours_bytes = unequal = counted = 0
    theirs = ours = 0.0
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seeds.npz"
        for found in images:
            size = (found.full.shape[1], found.full.shape[2])
            start = time.perf_counter()
            content = pickled(found)
            Path(folder, "seeds.npy").write_bytes(content)
            theirs += time.perf_counter() - start
            start = time.perf_counter()
            save_seeds(path, SeedMaps(found.classes, found.strided, size, (0.5,) * 20), "0" * 24)
            ours += time.perf_counter() - start
            theirs_bytes += len(content)
            ours_bytes += path.stat().st_size
            stored = load_seeds(path)
            for level in THRESHOLDS:
                one = to_mask(found.full, found.classes, level)
                other = to_mask(upsample(stored), stored.classes, level)
                share = float((one != other).mean())
                unequal += int((one != other).sum())
                counted += one.size
                worst = max(worst, share)
    return Row(
        what=what,
        beside="np.save of {keys, cam, high_res}, float32",
        theirs=theirs / len(images),
        ours=ours / len(images),
        difference=f"{unequal / counted:.3%} of pixels",
        goal="50 times smaller; 99.5 % of pixels equal",
        theirs_mb=theirs_bytes / len(images) / 1e6,
        ours_mb=ours_bytes / len(images) / 1e6,
        note=f"{theirs_bytes / ours_bytes:.0f} times smaller: {theirs_bytes / len(images) / 1e3:.0f} and "
        f"{ours_bytes / len(images) / 1e3:.1f} kB an image; MB are those of the file, seconds those of writing it",
        runs=len(images),
        extra={
            "times smaller": theirs_bytes / ours_bytes,
            "pixels unequal": unequal / counted,
            "worst image": worst,
            "thresholds": THRESHOLDS,
        },
    )


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Drawn maps, and those of a run where one is named."""
    count = 2 if quick else 25
    images = [drawn(SIZES[i % len(SIZES)], 1 + i % 3, i) for i in range(count)]
    yield measured(images, f"stored seeds, {count} drawn images of 1 to 3 classes")
    run = os.environ.get("DEFT_BENCH_RUN")
    if run:
        images = list(found_by(Path(run), 2 if quick else 12))
        row = measured(images, f"stored seeds, {len(images)} images of a run")
        row.extra.update(whole_run(Path(run)))
        yield row


def whole_run(run: Path) -> dict[str, float]:
    """Bytes of all seeds of a run's training images, and of the files that the published code would write for them."""
    theirs = ours = 0
    paths = sorted((run / "seeds" / "train").rglob("*.npz"))
    for path in paths:
        seeds = load_seeds(path)
        theirs += pickled_size(len(seeds.classes), seeds.size)
        ours += path.stat().st_size
    return {"images": len(paths), "pickles, MB": theirs / 1e6, "stored, MB": ours / 1e6, "times": theirs / max(1, ours)}


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
