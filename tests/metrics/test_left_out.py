from __future__ import annotations

import numpy as np
import pytest

from deft.metrics.left_out import PENALTIES, doubts, left_out_predictions


def _rows(features: np.ndarray) -> np.ndarray:
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    return np.concatenate([rows - rows.mean(axis=0), np.ones((len(rows), 1))], axis=1)


@pytest.mark.parametrize(("count", "channels"), [(12, 30), (40, 5)])
def test_predictions_are_those_of_a_fit_without_the_image(count: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, channels)).astype(np.float32)
    labels = rng.random((count, 3)) < 0.4
    rows, targets = _rows(features.astype(np.float64)), labels.astype(float)
    by_penalty = {}
    for penalty in PENALTIES:
        one_by_one = np.zeros_like(targets)
        for index in range(count):
            others = np.arange(count) != index
            gram = rows[others].T @ rows[others] + penalty * np.eye(channels + 1)
            one_by_one[index] = rows[index] @ np.linalg.solve(gram, rows[others].T @ targets[others])
        by_penalty[penalty] = one_by_one
    best = min(by_penalty.values(), key=lambda found: float(((found - targets) ** 2).sum()))
    np.testing.assert_allclose(left_out_predictions(features, labels), best, atol=1e-8)


def _two_groups(flipped: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Features of two clear groups of 30, tagged with the first and the second class but for flipped images."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 16)).astype(np.float32)
    features[:30, 0] += 6
    features[30:, 1] += 6
    labels = np.zeros((60, 2), dtype=bool)
    labels[:30, 0] = labels[30:, 1] = True
    labels[flipped, 0] ^= True
    return features, labels


@pytest.mark.parametrize("flipped", [[3], [45], [3, 17, 45]])
def test_flipped_tags_come_first(flipped: list[int]) -> None:
    features, labels = _two_groups(flipped)
    found = doubts(left_out_predictions(features, labels), labels)
    first = np.argsort(-found, axis=None)[: len(flipped)]
    assert {tuple(place) for place in np.argwhere(found >= np.sort(found, axis=None)[-len(flipped)])} == {
        (index, 0) for index in flipped
    }
    assert (found.ravel()[first] > 0.3).all()


def test_right_tags_are_not_doubted() -> None:
    features, labels = _two_groups([])
    assert not doubts(left_out_predictions(features, labels), labels).any()


def test_classes_that_tell_nothing_have_no_doubts() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(40, 8)).astype(np.float32)
    labels = np.zeros((40, 3), dtype=bool)
    labels[:, 0] = True  # on every image; the second on none; the third on one
    labels[7, 2] = True
    found = doubts(left_out_predictions(features, labels), labels)
    assert np.isfinite(found).all() and not found[:, :2].any()


def test_equal_and_empty_features_are_no_fault() -> None:
    labels = np.array([[True], [False], [True]])
    for features in (np.zeros((3, 4), dtype=np.float32), np.ones((3, 4), dtype=np.float32)):
        assert np.isfinite(left_out_predictions(features, labels)).all()


@pytest.mark.parametrize(("features", "labels"), [((1, 4), (1, 2)), ((3, 4), (2, 2)), ((3,), (3, 2))])
def test_wrong_shapes_are_refused(features: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected features \(N, C\)"):
        left_out_predictions(np.zeros(features, dtype=np.float32), np.zeros(labels, dtype=bool))
