"""Tags that are likely wrong or missing: those that the other images' tags contradict (:mod:`deft.metrics.left_out`).

Features are those of the backbone as it was pretrained. The trained classifier's have seen the tags, wrong ones
included, and contradict fewer of them; they are used where there are no pretrained weights. How many flipped tags are
found is measured by ``benchmarks/doubtful.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deft.backbone import Backbone, build_backbone
from deft.contracts import Dataset, InputError, Sample
from deft.data.examples import without_truth
from deft.data.spread import spread
from deft.engine.features import load_deep
from deft.engine.infer import device, for_each
from deft.metrics.left_out import doubts, left_out_predictions
from deft.seeds.views import pixels, resize
from deft.stages.context import Run

IMAGES = 20_000
"""Most images that are compared, evenly spread: their features take 100 MB."""
FEWEST = 30
"""With fewer images the others say too little about each."""
SHARE = 0.05
"""Tags that are listed at most, as a share of all tags."""
LISTED = 20
"""At least so many are listed, if there are doubts."""


def doubtful_tags(run: Run) -> dict[str, Any]:
    """The training images' most doubtful tags, the most doubtful first.

    Args:
        run: with a trained classifier.

    Returns:
        ``images``, the number of images compared; ``features``, ``pretrained`` or ``trained``; ``doubted``, the number
        of all doubtful tags; and ``tags``, each with its ``image``, ``class``, whether it is ``given``, the
        ``prediction`` (about 1 for present, 0 for absent) and the ``doubt``. Empty without a classifier, with fewer
        than two classes, or with too few images.
    """
    if run.pipeline.classifier is None or len(run.train) < FEWEST or len(run.train.classes) < 2:
        return {}
    chosen = spread(range(len(run.train)), IMAGES)
    labels = run.train.labels[chosen]
    if run.pipeline.frozen is not None:
        kind = "pretrained" if run.pipeline.weights != "none" else "trained"
        pooled = stored_features([run.features.of("train")[index] for index in chosen])
    else:
        backbone, kind = _backbone(run)
        pooled = pooled_features(run.train, backbone, chosen)
    predictions = left_out_predictions(pooled, labels)
    doubt = doubts(predictions, labels)
    doubted = int((doubt > 0).sum())
    most = min(doubted, max(LISTED, math.ceil(SHARE * int(labels.sum()))))
    order = np.argsort(-doubt, axis=None, kind="stable")[:most]
    tags = []
    for row, k in zip(*np.unravel_index(order, doubt.shape), strict=True):
        tags.append(
            {
                "image": run.train.names[chosen[row]],
                "class": run.train.classes[k],
                "given": bool(labels[row, k]),
                "prediction": round(float(predictions[row, k]), 4),
                "doubt": round(float(doubt[row, k]), 4),
            }
        )
    return {"images": len(chosen), "features": kind, "doubted": doubted, "tags": tags}


def pooled_features(data: Dataset, backbone: Backbone, indices: Sequence[int]) -> NDArray[np.float32]:
    """Mean of the last feature map over each of some images, (n, C).

    Args:
        data: the images.
        backbone: in eval mode.
        indices: the n images, in any order.
    """
    features = np.zeros((len(indices), backbone.channels[-1]), dtype=np.float32)
    place = {index: row for row, index in enumerate(indices)}

    def work(index: int, sample: Sample) -> None:
        view = resize(pixels(sample.image, device()), 1.0, backbone.stride, backbone.extra)
        found = backbone(view.contiguous(memory_format=torch.channels_last))[-1].float()
        features[place[index]] = found.mean(dim=(2, 3))[0].cpu().numpy()

    for_each(without_truth(data), indices, work, title="comparing tags")
    return features


def stored_features(files: Sequence[Path]) -> NDArray[np.float32]:
    """Mean of the stored map of each of some images, (n, C)."""
    pooled = [load_deep(path).float().mean(dim=(1, 2)).numpy() for path in files]
    return np.stack(pooled).astype(np.float32)


def _backbone(run: Run) -> tuple[Backbone, str]:
    if run.pipeline.weights != "none":
        try:
            found = build_backbone(run.pipeline.backbone, run.pipeline.weights, run.pipeline.stride)
            return found.eval().to(device()), "pretrained"
        except InputError:  # the file has been moved since the run was made: its page can be drawn all the same
            pass
    return run.trained_classifier().backbone.to(device()), "trained"
