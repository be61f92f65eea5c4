from __future__ import annotations

import numpy as np
import pytest

from deft.metrics.classification import average_precision, mean_average_precision


def slow_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    total, before = 0.0, 0.0
    for cut in sorted(set(scores.tolist()), reverse=True):
        kept = scores >= cut
        recall = (labels & kept).sum() / labels.sum()
        total += (recall - before) * (labels & kept).sum() / kept.sum()
        before = recall
    return total


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop_over_score_thresholds_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, (40, 3)) / 8
    labels = rng.random((40, 3)) < 0.4
    found = average_precision(scores, labels)
    for k in range(3):
        assert found[k] == pytest.approx(slow_average_precision(scores[:, k], labels[:, k]))


def test_the_order_of_images_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 3, (30, 2)).astype(np.float64), rng.random((30, 2)) < 0.5
    order = rng.permutation(30)
    assert np.array_equal(average_precision(scores, labels), average_precision(scores[order], labels[order]))


def test_perfect_and_constant_scores_and_an_absent_class() -> None:
    labels = np.array([[True, True, False], [False, False, False]])
    scores = np.array([[1.0, 0.0, 0.3], [0.0, 0.0, 0.4]])
    found = average_precision(scores, labels)
    assert found[0] == 1.0
    assert found[1] == 0.5
    assert np.isnan(found[2])
    assert mean_average_precision(scores, labels) == 0.75
    assert np.isnan(mean_average_precision(scores, np.zeros_like(labels)))


def test_wrong_shapes_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        average_precision(np.zeros((2, 3)), np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="nan"):
        average_precision(np.full((1, 1), np.nan), np.ones((1, 1), bool))
