"""Multi-scale seeds beside the published loop: one image and its mirror image, four scales, float32, contiguous."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import cast

import networks
import numpy as np
import torch
from measure import Row, compare, show
from numpy.typing import NDArray
from torch import Tensor

from deft.classify.classifier import ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.contracts import Dataset, Sample
from deft.engine.head import normalise
from deft.engine.infer import for_each
from deft.engine.precision import choose
from deft.seeds.cam import Cam
from deft.seeds.views import on_grid, pixels, resize

SCALES = (1.0, 0.5, 1.5, 2.0)
TAGS = (3, 11)


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """One image with all threads, then several as a run does them: on a CPU each thread has an image of its own."""
    names = ("test_resnet",) if quick else ("resnet50", "mobilenetv2_100")
    size, count, runs = ((60, 80), 2, 1) if quick else ((375, 500), 4, 5 if device.type == "cuda" else 3)
    for name in names:
        network = networks.classifier(name, LinearHead(), device)
        yield from _rows(name, network, [networks.photo(*size, seed=n) for n in range(count)], device, runs)


def _rows(
    name: str, network: ClassifierNetwork, images: list[NDArray[np.uint8]], device: torch.device, runs: int
) -> Iterator[Row]:
    ours, precision, labels = networks.laid_out(network), choose(device), networks.tags(*TAGS)
    locate = Cam()
    height, width = images[0].shape[:2]
    found = [locate(ours, image, labels, precision).maps for image in images]
    expected = [published(network, image) for image in images]
    difference = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    mean = sum(float((a - b).abs().mean()) for a, b in zip(found, expected, strict=True)) / len(images)

    def row(what: str, theirs: float, own: float, goal: str, note: str) -> Row:
        return Row(
            what=f"multi-scale seeds, {name}, {width}x{height}, 2 tags, {what}",
            beside="one image and its mirror image at a time, 4 scales, float32, contiguous",
            theirs=theirs,
            ours=own,
            difference=f"{difference:.4f} at most, {mean:.5f} on average, of maps in [0, 1]",
            goal=goal,
            note=f"{precision}, channels last, {networks.kind(network.backbone)}{note}",
            runs=runs,
        )

    amx = any("amx" in line for line in _processor_flags())
    goal = "no goal on a GPU" if device.type == "cuda" else f"{4 if amx else 2} times faster, maps within 1e-2"
    theirs, own = compare(
        lambda: published(network, images[0]), lambda: locate(ours, images[0], labels, precision), device, runs
    )
    yield row("one image, all threads", theirs, own, goal, "")

    data = cast(Dataset, _Images(images, labels))  # as much of one as is mapped over
    for threads in (1, 4) if device.type == "cuda" else (0,):
        theirs, own = compare(
            lambda: [published(network, image) for image in images],
            lambda threads=threads: for_each(  # type: ignore[misc]
                data,
                range(len(images)),
                lambda _index, sample: _discard(locate(ours, sample.image, sample.labels, precision)),
                title="seeds",
                threads=threads,
            ),
            device,
            runs,
        )
        way = f"{threads} in flight" if threads else "an image a thread"
        yield row(f"{len(images)} images, {way}", theirs, own, goal, f"; {own / len(images):.4f} s an image")


@torch.no_grad()
def published(network: ClassifierNetwork, image: NDArray[np.uint8]) -> Tensor:
    """IRN's loop, on the views that ours looks at, so that the same maps come out: (P, h, w)."""
    where = next(network.parameters()).device
    total: Tensor | None = None
    for scale in SCALES:
        view = resize(pixels(image, where), scale, network.backbone.stride, 1).contiguous()
        features = network.backbone(torch.cat([view, view.flip(-1)]))[-1]
        both = torch.relu(torch.nn.functional.conv2d(features, network.head.get_parameter("classifier.weight")))
        cam = both[0] + both[1].flip(-1)
        strided = on_grid(cam, (view.shape[-2], view.shape[-1]), (image.shape[0], image.shape[1]), 1)
        total = strided if total is None else total + strided
    if total is None:
        raise AssertionError("there are scales")
    return normalise(total[list(TAGS)]).cpu()


class _Images:
    """One image after the other, all with the same tags."""

    classes = tuple(str(number) for number in range(networks.CLASSES))

    def __init__(self, images: list[NDArray[np.uint8]], labels: NDArray[np.bool_]) -> None:
        self.images, self.tags = images, labels
        self.names = tuple(str(number) for number in range(len(images)))
        self.labels = np.stack([labels] * len(images))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(index), self.images[index], self.tags)


def _discard(_: object) -> None:
    """Seeds are not kept."""


def _processor_flags() -> list[str]:
    if not os.path.exists("/proc/cpuinfo"):
        return []
    with open("/proc/cpuinfo") as lines:
        return [line for line in lines if line.startswith("flags")][:1]


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
