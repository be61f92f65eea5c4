from __future__ import annotations

import json

import numpy as np
import pytest

from deft.metrics.coverage import Coverage

MASK = np.array([[0, 0, 1, 1], [0, 255, 255, 1]], dtype=np.uint8)
SURE = np.array([[0.5, 0.5, 0.9, 0.9], [0.8, 0.1, 0.1, 0.6]], dtype=np.float32)


def test_statistics_of_one_image_counted_by_hand() -> None:
    coverage = Coverage(2)
    coverage.update(MASK, SURE, np.array([True, True]))
    one, two = coverage.of(1), coverage.of(2)
    assert (one.share, one.tagged_share, one.ignored) == (3 / 8, 3 / 8, 2 / 8)
    assert one.confidence == pytest.approx(0.8)
    assert (one.tagged, one.found, one.missed) == (1, 1, 0)
    assert (two.share, two.tagged, two.found, two.missed) == (0.0, 1, 0, 1)
    assert np.isnan(two.confidence)
    assert coverage.ignored() == 0.25


def test_untagged_images_do_not_dilute_a_class() -> None:
    coverage = Coverage(1)
    coverage.update(MASK, SURE, np.array([True]))
    coverage.update(np.zeros((2, 4), np.uint8), np.ones((2, 4), np.float32), np.array([False]))
    assert coverage.of(1).share == 3 / 16
    assert coverage.of(1).tagged_share == 3 / 8


def test_the_sum_of_parts_equals_counting_all_also_through_json() -> None:
    rng = np.random.default_rng(0)
    whole, total = Coverage(3), Coverage(3)
    for _ in range(4):
        mask = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (6, 5))
        sure, labels = rng.random((6, 5)).astype(np.float32), rng.random(3) < 0.5
        part = Coverage(3)
        part.update(mask, sure, labels)
        whole.update(mask, sure, labels)
        total = total + part
    again = Coverage.from_json(json.loads(json.dumps(total.to_json())))
    assert np.allclose(again.sums, whole.sums)
    assert (again.images, again.pixels) == (4, 120)


def test_without_confidence_the_mean_is_nan_not_zero() -> None:
    coverage = Coverage(1)
    coverage.update(MASK)
    assert np.isnan(coverage.of(1).confidence)
    assert np.isnan(Coverage.from_json(json.loads(json.dumps(coverage.to_json()))).of(1).confidence)
    assert coverage.of(1).tagged == 1


def test_shares_without_images_are_nan() -> None:
    assert np.isnan(Coverage(1).of(1).share)
    assert np.isnan(Coverage(1).ignored())


def test_wrong_shapes_and_values_are_refused() -> None:
    coverage = Coverage(1)
    with pytest.raises(ValueError, match="got 9"):
        coverage.update(np.full((2, 2), 9, np.uint8))
    with pytest.raises(ValueError, match="mask's size"):
        coverage.update(MASK, SURE[:1])
    with pytest.raises(ValueError, match="multi-hot"):
        coverage.update(MASK, SURE, np.array([True, False]))
    with pytest.raises(ValueError, match="to_json"):
        Coverage.from_json({"images": 1})
