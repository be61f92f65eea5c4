from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft.metrics.miou import THRESHOLDS, Confusion, ThresholdSweep
from deft.seedmaps import to_mask


def slow_confusion(prediction: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    matrix = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    for found, true in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if true != 255:
            matrix[true, 0 if found == 255 else found] += 1
    return matrix


def random_mask(rng: np.random.Generator, num_classes: int, size: tuple[int, int]) -> np.ndarray:
    mask = rng.integers(0, num_classes + 1, size).astype(np.uint8)
    mask[rng.random(size) < 0.1] = 255
    return mask


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 254), st.integers(0, 2**32 - 1))
def test_confusion_equals_a_loop_over_pixels(num_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = random_mask(rng, num_classes, (7, 9)), random_mask(rng, num_classes, (7, 9))
    confusion = Confusion(num_classes)
    confusion.update(prediction, truth)
    assert np.array_equal(confusion.matrix, slow_confusion(prediction, truth, num_classes))


def test_absent_classes_do_not_count_in_the_mean() -> None:
    confusion = Confusion(3)
    confusion.update(np.array([[1, 1, 0, 255]], dtype=np.uint8), np.array([[1, 0, 0, 1]], dtype=np.uint8))
    iou = confusion.iou()
    assert iou[0] == pytest.approx(1 / 3)
    assert iou[1] == pytest.approx(1 / 3)
    assert np.isnan(iou[2:]).all()
    assert confusion.miou() == pytest.approx(1 / 3)
    assert confusion.pixels() == 4


def test_ignored_ground_truth_does_not_count_and_ignored_predictions_are_background() -> None:
    truth = np.array([[255, 1]], dtype=np.uint8)
    one, two = Confusion(1), Confusion(1)
    one.update(np.array([[1, 255]], dtype=np.uint8), truth)
    two.update(np.array([[0, 0]], dtype=np.uint8), truth)
    assert one == two
    assert one.matrix.tolist() == [[0, 0], [1, 0]]


def test_the_sum_of_parts_equals_counting_all_also_through_json() -> None:
    rng = np.random.default_rng(0)
    parts, whole = [], Confusion(4)
    for _ in range(3):
        prediction, truth = random_mask(rng, 4, (8, 8)), random_mask(rng, 4, (8, 8))
        part = Confusion(4)
        part.update(prediction, truth)
        whole.update(prediction, truth)
        parts.append(part)
    total = parts[0] + parts[1] + parts[2]
    assert total == whole
    assert Confusion.from_json(json.loads(json.dumps(total.to_json()))) == whole


def test_dataset_iou_differs_from_the_mean_of_image_ious() -> None:
    large, small = Confusion(1), Confusion(1)
    large.update(np.ones((10, 10), np.uint8), np.ones((10, 10), np.uint8))
    small.update(np.zeros((1, 1), np.uint8), np.ones((1, 1), np.uint8))
    assert (large + small).iou()[1] == pytest.approx(100 / 101)


def test_scores_without_pixels_are_nan() -> None:
    assert np.isnan(Confusion(2).miou())
    assert all(np.isnan(value) for value in ThresholdSweep(2).best())


def test_errors_say_what_to_do() -> None:
    confusion = Confusion(2)
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="same size"):
        confusion.update(mask, np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="got 7"):
        confusion.update(mask, np.full((2, 2), 7, np.uint8))
    with pytest.raises(ValueError, match=r"predicted values of 2 classes.* got 3"):
        confusion.update(np.full((2, 2), 3, np.uint8), mask)
    with pytest.raises(ValueError, match="254"):
        Confusion(255)
    with pytest.raises(ValueError, match="same number of classes, got 2 and 3"):
        confusion + Confusion(3)
    sweep = ThresholdSweep(2)
    with pytest.raises(ValueError, match="nan"):
        sweep.update(np.full((1, 2, 2), np.nan, np.float32), [0], mask)
    with pytest.raises(ValueError, match="resize the maps"):
        sweep.update(np.zeros((1, 3, 3), np.float32), [0], mask)
    with pytest.raises(ValueError, match="distinct"):
        sweep.update(np.zeros((2, 2, 2), np.float32), [1, 1], mask)
    with pytest.raises(ValueError, match="two decimals"):
        sweep.at(0.155)


def sweep_example(seed: int, num_classes: int = 4) -> tuple[np.ndarray, list[int], np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = sorted(rng.choice(num_classes, rng.integers(0, num_classes + 1), replace=False).tolist())
    maps = rng.random((len(classes), 9, 11)).astype(np.float32)
    # Scores equal to a threshold, and their neighbours, are what can go wrong.
    edges = np.concatenate([THRESHOLDS, np.nextafter(THRESHOLDS, 2), np.nextafter(THRESHOLDS, -1)]).astype(np.float32)
    maps = np.where(rng.random(maps.shape) < 0.5, rng.choice(edges, maps.shape), maps)
    return maps, classes, random_mask(rng, num_classes, (9, 11))


@pytest.mark.parametrize("seed", range(6))
def test_sweep_equals_a_mask_per_threshold(seed: int) -> None:
    sweep = ThresholdSweep(4)
    images = [sweep_example(10 * seed + i) for i in range(3)]
    for maps, classes, truth in images:
        sweep.update(maps, classes, truth)
    slow = []
    for threshold in THRESHOLDS:
        matrix = np.zeros((5, 5), dtype=np.int64)
        for maps, classes, truth in images:
            prediction = np.zeros(truth.shape, dtype=np.uint8)
            for y in range(truth.shape[0]):
                for x in range(truth.shape[1]):
                    scores = maps[:, y, x]
                    if len(scores) and scores.max() > threshold:
                        prediction[y, x] = classes[int(scores.argmax())] + 1
            assert np.array_equal(prediction, to_mask(maps, classes, float(threshold)))
            matrix += slow_confusion(prediction, truth, 4)
        assert np.array_equal(sweep.at(float(threshold)).matrix, matrix)
        slow.append(Confusion(4, matrix).miou())
    assert np.allclose(sweep.curve(), slow, equal_nan=True)
    assert sweep.best() == (int(np.argmax(slow)) / 100, pytest.approx(max(slow)))


def test_sweeps_sum() -> None:
    one, two, both = ThresholdSweep(4), ThresholdSweep(4), ThresholdSweep(4)
    one.update(*sweep_example(1))
    two.update(*sweep_example(2))
    both.update(*sweep_example(1))
    both.update(*sweep_example(2))
    total = one + two
    assert np.array_equal(total.counts, both.counts)
    assert np.array_equal(total.totals, both.totals)
    again = ThresholdSweep(4, total.counts, total.totals)
    assert again.best() == both.best()


def test_the_best_threshold_differs_from_a_fixed_one() -> None:
    truth = np.array([[1, 1, 0, 0]], np.uint8)
    sweep = ThresholdSweep(1)
    sweep.update(np.array([[[0.9, 0.5, 0.3, 0.0]]], np.float32), [0], truth)
    assert sweep.best() == (0.3, 1.0)
    assert sweep.at(0.1).miou() < 1.0


def test_an_image_without_classes_is_all_background() -> None:
    sweep = ThresholdSweep(2)
    sweep.update(np.zeros((0, 2, 2), np.float32), [], np.array([[0, 1], [2, 255]], np.uint8))
    assert sweep.at(0.0).matrix[:, 0].tolist() == [1, 1, 1]
