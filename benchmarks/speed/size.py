"""Cost against size: seconds and memory an image for more images, and for larger ones."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from crf import scene
from measure import Row, peak_mb, show
from networks import peak
from numpy.typing import NDArray
from torch import Tensor, nn

from deft.artifacts import file_stem, load_seeds, save_mask, save_seeds
from deft.backbone import Backbone, build_backbone
from deft.classify.classifier import ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.contracts import Sample, SeedMaps
from deft.engine.infer import for_each
from deft.engine.layout import channels_last
from deft.engine.precision import choose
from deft.refine.irn import Irn, IrnRefine
from deft.refine.labels import ConfidentLabels
from deft.seedmaps import to_mask, upsample
from deft.seeds.cam import Cam

COUNTS = (100, 1_000, 10_000)
SIDES = (256, 512, 768, 1024)
SMALL = 64
"""Side of the images that there are many of, in pixels."""
CLASSES = 20
PRESENT = 2


@dataclass(frozen=True)
class Drawn:
    """A data set of any length without files: image i is drawn from i when asked for; a ``Dataset``."""

    count: int
    side: int
    scenes: tuple[NDArray[np.uint8], ...]
    """Images are these, shifted and mirrored."""
    classes: tuple[str, ...] = tuple(f"class {k}" for k in range(CLASSES))
    contexts: tuple[str, ...] = ()
    context_labels: NDArray[np.bool_] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """One a number."""
        return tuple(map(str, range(self.count)))

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Two classes an image."""
        index = np.arange(self.count)[:, None]
        kind = np.arange(CLASSES)
        tagged: NDArray[np.bool_] = (kind == index % CLASSES) | (kind == (index + 7) % CLASSES)
        return tagged

    @property
    def scored(self) -> NDArray[np.bool_]:
        """None has a mask."""
        return np.zeros(self.count, dtype=np.bool_)

    @property
    def groups(self) -> Mapping[str, NDArray[np.bool_]]:
        """There are none."""
        return {}

    def fingerprint(self) -> str:
        """It is what it is."""
        return f"{self.count} {self.side}"

    def __len__(self) -> int:
        """How many."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Draw one."""
        image = np.roll(self.scenes[index % len(self.scenes)], (index, 3 * index), (0, 1))
        labels = np.zeros(CLASSES, dtype=np.bool_)
        labels[[index % CLASSES, (index + 7) % CLASSES]] = True
        return Sample(str(index), image[:, :: 1 if index % 2 else -1].copy(), labels)


def drawn(count: int, side: int) -> Drawn:
    """So many square images."""
    return Drawn(count, side, tuple(scene((side, side), seed) for seed in range(4)))


class Tiny(nn.Module):
    """A backbone of one layer, so that many images cost what the machinery around the network costs."""

    stride, extra = 8, 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 9, stride=self.stride, padding=4)

    def forward(self, images: Tensor) -> list[Tensor]:
        """One feature map."""
        return [self.layer(images / 255).relu()]


def many(count: int, device: torch.device) -> Row:
    """Seeds, then masks, of so many images, as a run makes and stores them."""
    data = drawn(count, SMALL)
    torch.manual_seed(0)
    network = ClassifierNetwork(cast(Backbone, Tiny()), LinearHead().build(16, CLASSES)).to(device).eval()
    locate = Cam(scales=(1.0,))
    spent: dict[str, float] = {}

    with tempfile.TemporaryDirectory() as folder:

        def path(index: int, suffix: str) -> Path:
            return Path(folder) / f"{index % 100}" / (file_stem(str(index)) + suffix)

        def seeds(index: int, sample: Sample) -> None:
            save_seeds(path(index, ".npz"), locate(network, sample.image, sample.labels), "0" * 24)

        def masks(index: int, sample: Sample) -> None:
            stored = load_seeds(path(index, ".npz"))
            save_mask(path(index, ".png"), to_mask(upsample(stored), stored.classes, 0.15))

        def work() -> None:
            start = time.perf_counter()
            for_each(data, range(count), seeds, title=f"seeds of {count}")
            middle = time.perf_counter()
            for_each(data, range(count), masks, title=f"masks of {count}", on_device=False)
            spent["seeds, s"], spent["masks, s"] = middle - start, time.perf_counter() - middle

        # Of the process, on a GPU as well: what grows with the number of images would grow there.
        resident = peak_mb(work, torch.device("cpu"))
        spent["bytes an image"] = sum(each.stat().st_size for each in Path(folder).rglob("*.*")) / count
    seconds = spent["seeds, s"] + spent["masks, s"]
    return Row(
        what=f"{count:,} images",
        beside="fewer images",
        theirs=None,
        ours=seconds / count,
        difference="",
        goal="memory does not grow with the number of images",
        ours_mb=resident,
        note=f"seconds an image of {SMALL} px, seeds and masks made and stored, one layer as network",
        runs=count,
        extra=spent,
    )


def large(side: int, device: torch.device) -> Row:
    """Seeds at four scales, confident labels, boundaries and walk of one square image."""
    torch.manual_seed(0)
    backbone = build_backbone("mobilenetv2_100", "none", 16)
    network = channels_last(ClassifierNetwork(backbone, LinearHead().build(backbone.channels[-1], CLASSES)))
    network.to(device).eval()
    precision = choose(device)
    settings, labels = Irn(), ConfidentLabels(fg=0.30, bg=0.05)
    boundaries = channels_last(settings.network(backbone)).to(device).eval()
    refine = IrnRefine(boundaries, settings, settings.walk_steps(side), precision)
    sample = drawn(1, side)[0]
    spent: dict[str, float] = {}
    peaks: dict[str, float] = {}
    seeds: SeedMaps | None = None

    def timed(name: str, function: Any) -> Any:
        result: list[Any] = []

        def work() -> None:
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            result.append(function())
            if device.type == "cuda":
                torch.cuda.synchronize()
            spent[f"{name}, s"] = time.perf_counter() - start

        peaks[name] = peak(work, device)
        return result[0]

    with torch.no_grad():
        for _ in range(2):  # the first time warms
            seeds = timed("seeds", lambda: Cam()(network, sample.image, sample.labels, precision))
            held = SeedMaps(seeds.classes, seeds.maps.to(device), seeds.size, seeds.scores)
            timed("labels", lambda: labels(sample.image, held))  # noqa: B023 (called in this pass alone)
            timed("walk", lambda: refine(sample.image, held))  # noqa: B023
    return Row(
        what=f"one image of {side}x{side}, seeds, labels, boundaries and walk",
        beside="smaller images",
        theirs=None,
        ours=sum(spent.values()),
        difference="",
        goal="cost against size",
        ours_mb=max(peaks.values()),
        note=f"MobileNetV2 {precision}, {PRESENT} classes, {refine.steps} steps; "
        + ", ".join(f"{name} {spent[f'{name}, s']:.3g} s and {peak:.0f} MB" for name, peak in peaks.items()),
        runs=1,
        extra={**spent, **{f"{name}, MB": peak for name, peak in peaks.items()}},
    )


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """More images, then larger ones."""
    many(32, device)
    counts = (20, 40) if quick else COUNTS
    first: float | None = None
    for count in counts:
        row = many(count, device)
        first = row.ours_mb if first is None else first
        row.extra["MB more than for the fewest"] = (row.ours_mb or 0.0) - (first or 0.0)
        yield row
    for side in (64, 96) if quick else SIDES:
        yield large(side, device)


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
