"""Scores of every object on every background of a selection of images, by a DEFT classifier's f_swap and f_fg."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft.classify.deft import DeftModule
from deft.contracts import Dataset
from deft.data.spread import spread
from deft.metrics.bias import mean, share_above, sigmoid, swap_effect
from deft.settings import plain
from deft.stages.context import Run
from deft.studies.vectors import deft_module, read_vectors


class SwappedScores:
    """Scores of every object of a selection of images on every background of them."""

    def __init__(self, run: Run, shown: NDArray[np.bool_], images: int) -> None:
        """Compute all scores.

        Args:
            run: with a classifier that has two vectors.
            shown: the companions that each training image shows, (N, J).
            images: maximum number of images whose vectors are paired, balanced over the classes.
        """
        data = run.train
        network = run.trained_classifier()
        head = deft_module(network)
        indices = choose_images(data, images)
        vectors = read_vectors(network, data, indices)
        head.cpu()
        self.data = data
        self.form = plain(head.settings)["swap_head"]
        self.ratio = head.background_reliance()
        self.ratios = norm_ratios(head, vectors.z_fg.shape[1])
        self.indices = np.array(indices)
        self.tagged, self.shown = data.labels[self.indices], shown[self.indices]
        with torch.no_grad():
            self.logits = pair_logits(head, vectors.z_fg, vectors.z_bg)
            self.alone = sigmoid(head.f_fg(vectors.z_bg).numpy())

    def of_class(self, k: int, examples: int) -> dict[str, Any]:
        """Scores of class k on backgrounds alone, and the photographs whose backgrounds score highest."""
        own = np.flatnonzero(self.tagged[:, k])
        highest = own[np.argsort(-self.alone[own, k], kind="stable")][:examples]
        return {
            "norm_ratio": self.ratios[k],
            "alone": share_above(self.alone[:, k], self.tagged[:, k]),
            "alone_elsewhere": share_above(self.alone[:, k], ~self.tagged[:, k]),
            "examples": [
                {"image": self.data.names[self.indices[place]], "alone": float(self.alone[place, k])}
                for place in highest
            ],
        }

    def of_pair(self, k: int, j: int) -> dict[str, Any]:
        """Effect of the background on class k: with companion j or without it, and the background alone."""
        own = np.flatnonzero(self.tagged[:, k])
        shown = self.shown[:, j]
        return {
            **asdict(swap_effect(self.logits[own, :, k], own, shown)),
            "alone_with": mean(self.alone[self.tagged[:, k] & shown, k]),
            "alone_tempted": mean(self.alone[~self.tagged[:, k] & shown, k]),
        }


def choose_images(data: Dataset, count: int) -> list[int]:
    """About ``count`` images: equally many of each class, as far as there are enough, and of images without a class."""
    share = max(3, count // (len(data.classes) + 1))
    chosen = set(spread(np.flatnonzero(~data.labels.any(axis=1)), share))
    for k in range(len(data.classes)):
        chosen |= set(spread(np.flatnonzero(data.labels[:, k]), share))
    return sorted(chosen)


def pair_logits(head: DeftModule, z_fg: Tensor, z_bg: Tensor) -> NDArray[np.float64]:
    """Logits of f_swap for every object (n, C) on every background (n, C): (n, n, K), objects first."""
    rows = [head.swap_logits(torch.cat([one.expand_as(z_bg), z_bg], dim=1)) for one in z_fg]
    return torch.stack(rows).numpy().astype(np.float64)


def norm_ratios(head: DeftModule, channels: int) -> list[float]:
    """Norm of f_swap's weights on the background divided by that on the object, for each class; nan for an MLP."""
    if not head.settings.swap_head.additive:
        return [float("nan")] * head.f_fg.out_features
    with torch.no_grad():
        weights = (head.swap_logits(torch.eye(2 * channels)) - head.swap_logits(torch.zeros(1, 2 * channels))).T
    on_object, on_background = weights.chunk(2, dim=1)
    ratios: list[float] = (on_background.norm(dim=1) / on_object.norm(dim=1)).tolist()
    return ratios
