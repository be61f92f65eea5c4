from __future__ import annotations

import numpy as np
import pytest

from deft.metrics.cooccurrence import class_by_class, class_by_context

LABELS = np.array([[1, 0], [1, 0], [1, 1], [0, 1]], dtype=bool)
CONTEXTS = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)


def test_counts_equal_a_loop() -> None:
    rng = np.random.default_rng(0)
    labels, contexts = rng.random((20, 4)) < 0.4, rng.random((20, 3)) < 0.5
    found = class_by_context(labels, contexts, tuple("abcd"), tuple("xyz"))
    for k in range(4):
        assert found.images[k] == labels[:, k].sum()
        for j in range(3):
            assert found.counts[k, j] == sum(labels[n, k] and contexts[n, j] for n in range(20))


def test_the_two_ratios_of_table_3() -> None:
    found = class_by_context(LABELS, CONTEXTS, ("boat", "car"), ("water", "road", "sky"))
    assert found.share_of_images()[0].tolist() == [1.0, pytest.approx(1 / 3), pytest.approx(1 / 3)]
    assert found.share_of_labels()[0].tolist() == [0.6, 0.2, 0.2]


def test_a_class_is_not_its_own_companion() -> None:
    found = class_by_class(LABELS, ("boat", "car"))
    assert found.counts.tolist() == [[0, 1], [1, 0]]
    assert found.images.tolist() == [3, 2]


def test_a_class_without_images_is_nan() -> None:
    found = class_by_class(np.zeros((3, 2), bool), ("a", "b"))
    assert np.isnan(found.share_of_images()).all()
    assert np.isnan(found.share_of_labels()).all()
    assert found.strongest() == []


def test_strongest_is_the_companion_most_above_its_overall_share() -> None:
    found = class_by_context(LABELS, CONTEXTS, ("boat", "car"), ("water", "road", "sky"))
    assert found.strongest() == [(0, 0, 1.0)]
    assert found.strongest(at_least=4) == []


def test_wrong_shapes_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        class_by_context(LABELS, CONTEXTS[:2], ("a", "b"), ("x", "y", "z"))
    with pytest.raises(ValueError, match="one name per column"):
        class_by_class(LABELS, ("a",))
