"""What the other images say of each image's tags: linear predictions that never saw the image they are made for.

A network remembers the tags that it was trained on, also the wrong ones: its own probabilities hardly contradict them.
A ridge regression from its features to the tags has leave-one-out predictions in closed form (Allen, 1974, "The
relationship between variable selection and data augmentation and a method for prediction"), so that each image is
predicted from all others at the cost of one fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Ridge penalties that are compared, for features of length 1."""


def left_out_predictions(features: NDArray[np.float32], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Prediction of each tag of each image from all other images; the penalty is the one with the least error.

    Args:
        features: (N, C), any scale: rows are brought to length 1.
        labels: multi-hot (N, K).

    Returns:
        (N, K): about 1 where the other images say that the tag belongs, about 0 where they say that it does not.

    Raises:
        ValueError: the shapes do not fit, or there are fewer than two images.
    """
    if features.ndim != 2 or labels.ndim != 2 or len(features) != len(labels) or len(features) < 2:
        raise ValueError(f"expected features (N, C) and labels (N, K) with N > 1, got {features.shape}, {labels.shape}")
    rows = features.astype(np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    rows = np.concatenate([rows - rows.mean(axis=0), np.ones((len(rows), 1))], axis=1)
    targets = labels.astype(np.float64)
    # The smaller of the two Gram matrices, of images or of features, has the same eigenvalues.
    if len(rows) <= rows.shape[1]:
        values, vectors = np.linalg.eigh(rows @ rows.T)
    else:
        values, right = np.linalg.eigh(rows.T @ rows)
        kept = values > 1e-12 * values[-1]
        values, vectors = values[kept], rows @ (right[:, kept] / np.sqrt(values[kept]))
    seen = vectors.T @ targets
    best, least = targets, np.inf
    for penalty in PENALTIES:
        shrunk = vectors * (np.maximum(values, 0) / (np.maximum(values, 0) + penalty))
        leverage = np.minimum((shrunk * vectors).sum(axis=1, keepdims=True), 1 - 1e-9)
        predicted = (shrunk @ seen - leverage * targets) / (1 - leverage)
        error = float(((predicted - targets) ** 2).sum())
        if error < least:
            best, least = predicted, error
    return best


def doubts(predictions: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far each tag is from what is usual for its class, (N, K); large where a tag is likely wrong or missing.

    A given tag is compared with the mean prediction of the images that have it, an absent one with the mean of those
    that do not, as in confident learning (Northcutt et al., 2021, arXiv:1911.00068). It is 0 where the prediction is
    nearer to the mean of the tag's own group, and in classes that the predictions do not separate.

    Args:
        predictions: (N, K), as from :func:`left_out_predictions`.
        labels: multi-hot (N, K).
    """
    found = np.zeros(predictions.shape)
    for k in range(labels.shape[1]):
        given, predicted = labels[:, k], predictions[:, k]
        if not given.any() or given.all():
            continue
        with_tag, without = predicted[given].mean(), predicted[~given].mean()
        if with_tag > without:
            apart = np.where(given, with_tag - predicted, predicted - without)
            found[:, k] = np.where(2 * apart > with_tag - without, apart, 0.0)
    return found
