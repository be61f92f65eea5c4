"""Pictures of a run's examples: image, seeds, refined maps, pseudo-mask, prediction and truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft.artifacts import load_mask, load_seeds
from deft.contracts import Dataset
from deft.data.scaling import resized_mask
from deft.data.spread import spread
from deft.report.data import PictureRow
from deft.report.overlay import overlay, seeds_over_image
from deft.seedmaps import upsample
from deft.stages.context import Run
from deft.stages.truth import usable_truth

PICTURES = 8
"""Images shown as typical examples; the worst and the best come in addition."""


def held_out_pictures(run: Run) -> tuple[PictureRow, ...]:
    """Rows of held-out images; empty where there are none."""
    return () if run.val is None else pictures(run, tagged_first(run.val, PICTURES // 2), "val")


def pictures(run: Run, indices: list[int], part: str, score: dict[str, float] | None = None) -> tuple[PictureRow, ...]:
    """Rows of image, seeds, refined maps, pseudo-mask, prediction and ground truth, as far as they exist."""
    data = run.val if part == "val" and run.val is not None else run.train
    known, rows = usable_truth(data), []
    for index in indices:
        sample = known[index]
        if not sample.image.size:
            continue
        pictures = [("image", sample.image)]
        pictures += _maps(run.files("seeds", data, ".npz", part)[index], "seeds", sample.image)
        if part == "train":
            if run.pipeline.refine is not None:
                pictures += _maps(run.map_files()[index], "refined", sample.image)
            pictures += _mask(run.files("masks", data, ".png")[index], "pseudo-mask", sample.image)
        pictures += _mask(run.files("predictions", data, ".png", part)[index], "prediction", sample.image)
        if sample.mask is not None:
            pictures.append(("truth", _overlay(sample.image, sample.mask)))
        tags = tuple(data.classes[k] for k in np.flatnonzero(sample.labels))
        rows.append(PictureRow(sample.name, tags, tuple(pictures), score[sample.name] if score else None))
    return tuple(rows)


def _maps(path: Path, caption: str, image: NDArray[np.uint8]) -> list[tuple[str, NDArray[np.uint8]]]:
    if not path.exists():
        return []
    seeds = load_seeds(path)
    return [(caption, seeds_over_image(image, upsample(seeds).numpy(), seeds.classes))]


def _mask(path: Path, caption: str, image: NDArray[np.uint8]) -> list[tuple[str, NDArray[np.uint8]]]:
    return [(caption, _overlay(image, load_mask(path)))] if path.exists() else []


def _overlay(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask, which has the size of the photograph, over the image as it was read."""
    return overlay(image, resized_mask(mask, (image.shape[0], image.shape[1])))


def tagged_first(data: Dataset, count: int) -> list[int]:
    """Indices evenly spread over the tagged images of a dataset, or over all images where none is tagged."""
    tagged = np.flatnonzero(data.labels.any(axis=1))
    return spread(tagged if len(tagged) else np.arange(len(data)), count)
