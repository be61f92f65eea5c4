"""What the hours of ``docs/protocols.md`` are estimated from: operations of ResNet-50, and seconds of the processor.

    python benchmarks/estimate.py

Prints GFLOP (multiplications and additions) of one crop of 512 pixels at stride 16, forwards and in a training step
where layers up to a stride are frozen (8 for the classifier, 4 for the segmentation network, 0 trains all). Then, on
one thread, seconds of confident labels and of a walk of 256 steps on an image of 500 x 375 of noise, for which a CRF
is slowest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from deft.backbone import Backbone, build_backbone
from deft.contracts import SeedMaps
from deft.refine.labels import ConfidentLabels
from deft.refine.random_walk import boundary_affinities, random_walk


def main() -> None:
    torch.set_num_threads(1)
    images = torch.zeros(1, 3, 512, 512, dtype=torch.uint8)
    backbone = build_backbone("resnet50", "none", 16)
    with torch.no_grad():
        print(f"forward: {_gflop(partial(backbone, images)):.0f} GFLOP")
    for stride in (8, 4, 0):
        backbone = build_backbone("resnet50", "none", 16)
        if stride:
            backbone.freeze(until=backbone.stage_of_stride(stride), batch_norm=True)
        print(f"step, frozen up to stride {stride}: {_gflop(partial(_step, backbone, images)):.0f} GFLOP")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (375, 500, 3), dtype=np.uint8)
    seeds = SeedMaps((0, 1), torch.rand(2, 94, 125), (375, 500))
    start = time.perf_counter()
    ConfidentLabels(fg=0.30, bg=0.05)(noise, seeds)
    print(f"confident labels: {time.perf_counter() - start:.2f} s")
    affinities = boundary_affinities(torch.rand(94, 125), 5)
    start = time.perf_counter()
    random_walk(seeds.maps, affinities, 5, beta=10, steps=256)
    print(f"walk: {time.perf_counter() - start:.2f} s")


def _step(backbone: Backbone, images: torch.Tensor) -> None:
    backbone(images)[-1].sum().backward()


def _gflop(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9


if __name__ == "__main__":
    main()
