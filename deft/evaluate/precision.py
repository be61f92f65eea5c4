"""What the numerical precision of a run changed: maps and masks of a few images, recomputed in float32.

Training is not repeated; what is compared is what the same trained networks find. Maps are compared as masks at the
run's threshold, stored in 8 bits as all maps are, so that nothing but the precision differs.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import load_mask, load_seeds, save_seeds
from deft.contracts import Dataset, Sample, SeedMaps
from deft.data.spread import spread
from deft.engine.infer import device, for_each
from deft.engine.precision import EXACT
from deft.metrics import Confusion
from deft.seedmaps import full_mask
from deft.seeds.cam import Cam
from deft.segment.deeplab import load_network
from deft.stages.context import Run
from deft.stages.truth import usable_truth

Comparison = dict[str, Any]
"""What :func:`compare` finds; shares and mIoU in [0, 1]."""

_Mask = Callable[[int, Sample], NDArray[np.uint8]]


def compare(run: Run, known: Comparison | None = None, images: int = 16) -> Comparison:
    """Compare masks of a run with those that its networks make in float32.

    Args:
        run: with its seeds and predictions made.
        known: what this found for the same seeds, which are not compared again.
        images: at most so many, spread evenly over the held-out images with ground truth; over the training images
            with ground truth where there are none, and over all training images where those have none either.

    Returns:
        Empty where the run is float32 already, or where nothing in it is read in its precision. Else ``precision``,
        ``images``, and under ``seeds`` (for class activation maps) and ``segmentation`` (where it is trained) the
        share of ``equal pixels`` and, with ground truth, ``miou`` and ``miou of float32``.
    """
    pipeline = run.pipeline
    if pipeline.precision == EXACT:
        return {}
    part, data = next(((name, data) for name, data in reversed(run.parts()) if data.scored.any()), run.parts()[0])
    indices = spread(np.flatnonzero(data.scored) if data.scored.any() else np.arange(len(data)), images)
    found: Comparison = {}
    if isinstance(pipeline.seeds, Cam):
        found["seeds"] = (known or {}).get("seeds") or _counted(
            data, indices, *_located(run, run.files("seeds", data, ".npz", part), pipeline.seeds)
        )
    if pipeline.segment is not None:
        found["segmentation"] = _counted(data, indices, *_segmented(run, run.files("predictions", data, ".png", part)))
    return {"precision": pipeline.precision, "images": len(indices), **found} if found else {}


def sentence(comparison: Comparison) -> str:
    """One line to print; empty if nothing was compared."""
    parts = [
        f"{name} {_told(comparison[key])}"
        for key, name in (("seeds", "seeds"), ("segmentation", "masks"))
        if key in comparison
    ]
    if not parts:
        return ""
    return f"{comparison['precision']} against float32 on {comparison['images']} images: {'; '.join(parts)}"


def _told(one: Comparison) -> str:
    equal = f"{100 * one['equal pixels']:.2f} % of pixels equal"
    if "miou" not in one:
        return equal
    given, exact = 100 * one["miou"], 100 * one["miou of float32"]
    change = round(given - exact, 2) + 0.0  # never -0.00
    return f"{given:.2f} and {exact:.2f} mIoU ({change:+.2f}), {equal}"


def _located(run: Run, stored: list[Path], method: Cam) -> tuple[_Mask, _Mask]:
    """Masks of the stored seeds, and of the same seeds made in float32."""
    network = run.trained_classifier().to(device())
    cut = run.cuts("seeds").used

    def mask(seeds: SeedMaps) -> NDArray[np.uint8]:
        return full_mask(seeds, cut)

    def again(index: int, sample: Sample) -> NDArray[np.uint8]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "seeds.npz"
            found = method(network, sample.image, sample.labels, EXACT)
            save_seeds(path, replace(found, photograph=sample.photograph))
            return mask(load_seeds(path))

    return lambda index, sample: mask(load_seeds(stored[index])), again


def _segmented(run: Run, stored: list[Path]) -> tuple[_Mask, _Mask]:
    """Masks of the segmentation network: stored ones where there are any, and the same recomputed in float32."""
    network = load_network(run.out.path / "segment" / "model.safetensors")[0].to(device())

    def predicted(sample: Sample, precision: str) -> NDArray[np.uint8]:
        found = run.pipeline.inference.predict(
            network, sample.image, run.train.classes, precision=precision, size=sample.full_size
        )
        return found.mask

    def given(index: int, sample: Sample) -> NDArray[np.uint8]:
        return load_mask(stored[index]) if stored[index].exists() else predicted(sample, run.pipeline.precision)

    return given, lambda index, sample: predicted(sample, EXACT)


def _counted(data: Dataset, indices: list[int], given: _Mask, exact: _Mask) -> Comparison:
    """Compare two masks of each image with each other and, where it exists, with the ground truth."""
    lock = threading.Lock()
    totals = (Confusion(len(data.classes)), Confusion(len(data.classes)))
    equal = pixels = 0

    def work(index: int, sample: Sample) -> None:
        nonlocal equal, pixels
        if not sample.image.size:  # its mask, and with it the image, could not be read
            return
        masks = given(index, sample), exact(index, sample)
        with lock:
            equal += int((masks[0] == masks[1]).sum())
            pixels += masks[0].size
            if sample.mask is not None:
                for total, mask in zip(totals, masks, strict=True):
                    total.update(mask, sample.mask)

    for_each(usable_truth(data), indices, work, title="against float32")
    result: Comparison = {"equal pixels": equal / max(1, pixels)}
    if totals[0].pixels():
        result |= {"miou": totals[0].miou(), "miou of float32": totals[1].miou()}
    return result
