"""Multi-label classification: average precision per class and its mean over classes.

Average precision is the area under the precision-recall curve without interpolation: the sum over distinct scores of
the gain in recall times the precision. Images with equal scores count together, so that their order does not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def average_precision(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Average precision of each class.

    Args:
        scores: higher for more confident predictions, on any scale, (N, K).
        labels: multi-hot ground truth, (N, K).

    Returns:
        (K,) in [0, 1]; nan for a class that no image shows.

    Raises:
        ValueError: the shapes differ, or a score is nan.

    >>> average_precision(np.array([[0.9], [0.8], [0.1]]), np.array([[True], [False], [True]])).round(3).tolist()
    [0.833]
    """
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            f"expected scores and multi-hot labels of the same shape (N, K), got {scores.shape} and {labels.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError(
            "expected scores without nan, got nan: the classifier diverged; lower its learning rate or clip gradients"
        )
    return np.array([_one_class(scores[:, k], labels[:, k].astype(bool)) for k in range(scores.shape[1])])


def mean_average_precision(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """Mean of :func:`average_precision` over the classes that occur, in [0, 1]; nan if there are none.

    >>> mean_average_precision(np.array([[0.9, 0.3], [0.1, 0.2]]), np.array([[True, False], [False, False]]))
    1.0
    """
    known = average_precision(scores, labels)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")


def _one_class(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    if not labels.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last image of each distinct score
    precision = hits[last] / (last + 1)
    gained = np.diff(hits[last], prepend=0)
    return float((gained * precision).sum() / hits[-1])
