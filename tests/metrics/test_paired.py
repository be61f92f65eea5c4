"""The paired bootstrap: its counts, its intervals where they are known, and what pairing and seeds do to it."""

from __future__ import annotations

import numpy as np
import pytest

from deft.metrics import Confusion
from deft.metrics.paired import Counts, image_counts, paired_bootstrap

RNG = np.random.default_rng(0)


def drawn(images: int, share: float, rng: np.random.Generator) -> Counts:
    """Counts (1, N, 2, 2) of images of 100 pixels with one class, of which about a share is found."""
    hits = np.clip(rng.normal(100 * share, 10, size=images).round(), 0, 100).astype(np.int64)
    one = np.stack([hits, np.full(images, 100)], axis=1)
    return np.stack([one, one], axis=1)[None]


def test_counts_add_up_to_those_of_the_confusion_matrix() -> None:
    whole, total = Confusion(3), np.zeros((4, 2), dtype=np.int64)
    for _ in range(5):
        truth, prediction = RNG.choice([0, 1, 3, 255], (2, 9, 7)).astype(np.uint8)
        whole.update(prediction, truth)
        total += image_counts(prediction, truth, 3)
    known = total[:, 1] > 0
    assert known.tolist() == [True, True, False, True]
    np.testing.assert_allclose(total[known, 0] / total[known, 1], whole.iou()[known])


def test_equal_systems_differ_by_nothing() -> None:
    counts = drawn(20, 0.5, RNG)
    found = paired_bootstrap(counts, counts)
    assert (found.mean, found.low, found.high, found.above, found.certain) == (0, 0, 0, 0, False)


def test_the_interval_is_that_of_the_mean_of_independent_images() -> None:
    first, second = drawn(400, 0.60, np.random.default_rng(1)), drawn(400, 0.50, np.random.default_rng(2))
    found = paired_bootstrap(first, second)
    differences = (first - second)[0, :, 0, 0] / 100
    error = differences.std() / np.sqrt(400)
    assert found.mean == pytest.approx(differences.mean())
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.1 * error)
    assert found.above == 1 and found.certain


def test_what_is_hard_for_both_cancels() -> None:
    first = drawn(50, 0.5, np.random.default_rng(3))
    second = first.copy()
    second[..., 0] -= 1  # a hundredth less on every image
    found = paired_bootstrap(first, second)
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))


def test_seeds_that_disagree_widen_the_interval() -> None:
    better, worse, equal = (drawn(200, share, np.random.default_rng(4)) for share in (0.6, 0.4, 0.5))
    one = paired_bootstrap(better, equal)
    three = paired_bootstrap(np.concatenate([better, better, worse]), np.concatenate([equal] * 3))
    assert one.certain and not three.certain
    assert three.mean == pytest.approx(one.mean / 3, abs=0.01)
    assert three.low < 0 < three.high and 0.5 < three.above < 1


def test_a_class_counts_in_the_draws_that_show_it() -> None:
    counts = drawn(3, 0.5, RNG)
    whole, half = np.zeros((1, 3, 1, 2), dtype=np.int64), np.zeros((1, 3, 1, 2), dtype=np.int64)
    whole[0, 0, 0], half[0, 0, 0] = (100, 100), (50, 100)  # only the first image shows the class
    found = paired_bootstrap(np.concatenate([counts, whole], axis=2), np.concatenate([counts, half], axis=2))
    # It is one of three classes, found half as well, in the draws with the first image: 1 - (2 / 3) ** 3 of them.
    assert (found.mean, found.low, found.high) == pytest.approx((1 / 6, 0, 1 / 6))
    assert found.above == pytest.approx(19 / 27, abs=0.04)


@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (2, 4, 2, 2), (2, 0, 2, 2)])
def test_only_equal_images_and_seeds_can_be_paired(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected equal shapes"):
        paired_bootstrap(np.ones(shape, np.int64), np.ones((2, 3, 2, 2) if shape[1] else shape, np.int64))
