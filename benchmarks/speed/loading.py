"""Data loading beside the training step that waits for it: rates of both, and a profile of the waiting.

Photographs of VOC's size are drawn and kept as JPEG in a temporary folder. What reads them is what reads in training:
decode, random resize, crop of 512 pixels, batches from reading processes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from measure import Row, compare, show
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deft.backbone import build_backbone
from deft.classify.classifier import Classifier, ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.data.examples import TaggedImages
from deft.data.images import read_image
from deft.data.layouts.file_dataset import FileDataset
from deft.data.transforms import TrainCrop
from deft.engine.layout import channels_last
from deft.engine.plan import Plan
from deft.engine.precision import autocast, choose
from deft.engine.reading import reader

SIZE = (375, 500)
"""(H, W) of the photographs."""
CROP = TrainCrop(512, long_side=(320, 640))
CLASSES = 20
FILL = (124, 116, 104)
NETWORKS = ("mobilenetv2_100", "resnet50")
GOAL = "never the bottleneck at two workers"


def photograph(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Noise with as much at every size of detail, as photographs have: its JPEG is as large as VOC's (about 90 kB).

    Args:
        seed: of the drawing.
        size: (H, W).
    """
    rng = torch.Generator().manual_seed(seed)
    image = torch.full((1, 3, *size), 120.0)
    for octave in range(9):
        noise = torch.randn(1, 3, 2 + (size[0] >> octave), 2 + (size[1] >> octave), generator=rng)
        image += F.interpolate(noise, size=size, mode="bicubic") * (6 + 3 * octave)
    return image[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()


@contextmanager
def photographs(count: int) -> Iterator[FileDataset]:
    """A data set of JPEG files that lasts as long as the block."""
    with tempfile.TemporaryDirectory() as folder:
        paths = tuple(Path(folder) / f"{index}.jpg" for index in range(count))
        for index, path in enumerate(paths):
            Image.fromarray(photograph(index)).save(path, quality=92)
        yield FileDataset(
            classes=tuple(f"class {index}" for index in range(CLASSES)),
            names=tuple(path.stem for path in paths),
            images=paths,
            labels=np.random.default_rng(0).random((count, CLASSES)) < 0.1,
            masks=(None,) * count,
            scored=np.zeros(count, dtype=np.bool_),
        )


def published(path: Path, rng: np.random.Generator) -> Tensor:
    """The usual way: Pillow resizes, float32 from there on, a crop of the normalised image in a canvas of zeros."""
    image = Image.open(path).convert("RGB")
    side = int(rng.integers(320, 641))
    factor = side / max(image.size)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255
    pixels = (pixels - np.array((0.485, 0.456, 0.406), np.float32)) / np.array((0.229, 0.224, 0.225), np.float32)
    if rng.random() < 0.5:
        pixels = np.fliplr(pixels)
    canvas = np.zeros((CROP.crop, CROP.crop, 3), dtype=np.float32)
    height, width = min(CROP.crop, pixels.shape[0]), min(CROP.crop, pixels.shape[1])
    top, left = (int(rng.integers(0, CROP.crop - seen + 1)) for seen in (height, width))
    above, before = (
        int(rng.integers(0, side - seen + 1)) for side, seen in zip(pixels.shape[:2], (height, width), strict=True)
    )
    canvas[top : top + height, left : left + width] = pixels[above : above + height, before : before + width]
    return torch.from_numpy(np.ascontiguousarray(canvas.transpose(2, 0, 1)))


def one_image(data: FileDataset, quick: bool) -> Row:
    """One training example, in one process, both ways."""
    examples = TaggedImages(data, CROP, FILL)

    def theirs() -> None:
        for index in range(len(data)):
            published(data.images[index], np.random.default_rng(index))

    def ours() -> None:
        for index in range(len(data)):
            examples.example(index, np.random.default_rng(index))

    cpu = torch.device("cpu")
    before, after = compare(theirs, ours, cpu, 1 if quick else 7)
    decode, _ = compare(lambda: [read_image(path) for path in data.images], lambda: None, cpu, 1 if quick else 7)
    return Row(
        what="one training example, JPEG 500x375 to a crop of 512, one process",
        beside="Pillow and float32, as published",
        theirs=before / len(data),
        ours=after / len(data),
        difference="see tests: at most two grey levels from Pillow",
        goal="",
        note=f"{decode / after:.0%} of ours is the decoding of JPEG",
        runs=len(data) * (1 if quick else 7),
    )


Step = Callable[[dict[str, Tensor]], None]


def training_step(name: str, device: torch.device) -> Step:
    """A step of the classifier as :mod:`deft.engine.fit` takes it, its layers up to stride 8 frozen as in IRN."""
    torch.manual_seed(0)
    backbone = build_backbone(name, "none", 16)
    backbone.freeze(until=backbone.stage_of_stride(8), batch_norm=True)
    network: Any = channels_last(ClassifierNetwork(backbone, LinearHead().build(backbone.channels[-1], CLASSES)))
    network.to(device).train()
    settings = Classifier(LinearHead()).plan
    optimiser = settings.optimiser.build(network.groups())
    for group in optimiser.param_groups:
        group["lr"] = 1e-4  # these networks begin from nothing and have batch norm that does not norm
    precision = choose(device)

    def step(batch: dict[str, Tensor]) -> None:
        moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        with autocast(precision, device):
            terms = network.terms(moved, 1, torch.Generator())
        optimiser.zero_grad()
        loss: Any = torch.stack([term.float() for term in terms.values()]).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def delivered(examples: TaggedImages, batch: int, workers: int, batches: int) -> float:
    """Seconds an image of batches that nobody makes wait; the first of each process does not count."""
    steps = batches + max(1, workers)
    times = []
    for _ in reader(examples, Plan(epochs=1, min_steps=steps, batch=batch, workers=workers), 0, range(steps)):
        times.append(time.perf_counter())
    skipped = max(1, workers) - 1
    return (times[-1] - times[skipped]) / (len(times) - 1 - skipped) / batch


def waited(step: Step, examples: TaggedImages, batch: int, workers: int, steps: int) -> dict[str, float]:
    """Where a training's time goes: waiting for the batch, or computing."""
    warm = 2
    wait, work = [], []
    start = time.perf_counter()
    for content in reader(
        examples, Plan(epochs=1, min_steps=steps + warm, batch=batch, workers=workers), 0, range(steps + warm)
    ):
        ready = time.perf_counter()
        step(content)
        end = time.perf_counter()
        wait.append(ready - start)
        work.append(end - ready)
        start = end
    wait, work = wait[warm:], work[warm:]
    total = sum(wait) + sum(work)
    return {
        "share waited": sum(wait) / total,
        "longest wait, s": max(wait),
        "step, s": statistics.median(work),
        "images/s": batch * steps / total,
    }


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """One example, then a network at a time: what two processes deliver, what the step takes, what it waits."""
    gpu = device.type == "cuda"
    if gpu:
        torch.backends.cudnn.benchmark = True
    with photographs(4 if quick else 64) as data:
        yield one_image(data, quick)
        examples = TaggedImages(data, CROP, FILL)
        for name in NETWORKS[: 1 if quick else 2]:
            batch = 16 if gpu else {"mobilenetv2_100": 8, "resnet50": 4}[name]
            batch = 2 if quick else batch
            steps, batches = (2, 2) if quick else (60, 60) if gpu else (5, 40)
            step = training_step(name, device)
            content = next(iter(reader(examples, Plan(epochs=1, min_steps=1, batch=batch, workers=0), 0, range(1))))
            step(content)
            alone = []
            for _ in range(steps):
                start = time.perf_counter()
                step(content)
                alone.append(time.perf_counter() - start)
            needed = statistics.median(alone) / batch
            profiles = {}
            tried = (2,) if quick else (0, 2, 4, 8) if gpu else (0, 2)
            for workers in tried:
                profiles[workers] = waited(step, examples, batch, workers, steps)
                profiles[workers]["seconds an image, delivered"] = delivered(examples, batch, workers, batches)
            first, two = profiles[tried[0]], profiles[2]
            enough = [workers for workers, profile in profiles.items() if profile["share waited"] < 0.05]
            yield Row(
                what=f"batches of {batch} from 2 reading processes, crops of 512",
                beside=f"training step of {name}, {choose(device)}",
                theirs=needed,
                ours=two["seconds an image, delivered"],
                difference=f"{two['share waited']:.1%} of the time waited",
                goal=GOAL,
                note=f"{1 / two['seconds an image, delivered']:.4g} images/s delivered, {1 / needed:.3g} images/s "
                f"trained on; waits below 5 % with {', '.join(map(str, enough)) or 'none of these'} of "
                f"{', '.join(map(str, tried))} processes; in all {two['images/s'] / first['images/s']:.2f} times as "
                f"fast as with {tried[0]}",
                runs=steps,
                extra={f"{workers} processes": profile for workers, profile in profiles.items()},
            )


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
