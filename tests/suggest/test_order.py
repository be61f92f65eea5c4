"""Greedy coverage: what helps most first, and not one class only."""

from __future__ import annotations

import numpy as np
import pytest

from deft.suggest.order import Gain, errors, greedy


def gain_of(error: np.ndarray, scenes: np.ndarray | None = None, factor: np.ndarray | None = None) -> Gain:
    count = len(error)
    none = np.full(count, -1)
    return Gain(error, none if scenes is None else scenes, np.ones(count) if factor is None else factor)


def slow(gain: Gain, candidates: list[int], number: int) -> list[int]:
    """The same choice with every gain computed anew."""
    left, found = list(candidates), []
    while left and len(found) < number:
        best = max(left, key=lambda image: (gain.of(image), -image))
        gain.add(best)
        left.remove(best)
        found.append(best)
    return found


def test_errors_are_relative_to_the_area_of_a_class() -> None:
    wrong, area = np.array([[0.2, 0.1], [0.2, 0.0]]), np.array([[0.5, 0.5], [1.0, 0.0]])
    assert errors(wrong, area) == pytest.approx(np.array([[0.2 / 1.5, 0.2], [0.2 / 1.5, 0.0]]))
    nothing = errors(np.zeros((2, 3)), np.zeros((2, 3)))
    assert (nothing == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_lazy_evaluation_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    error = rng.random((60, 5)) * (rng.random((60, 5)) < 0.4)
    given = error, rng.integers(-1, 4, 60), rng.uniform(0.5, 1, 60)
    chosen = greedy(Gain(*given), list(range(60)), 25)
    assert [image for image, _ in chosen] == slow(Gain(*given), list(range(60)), 25)
    values = [value for _, value in chosen]
    assert values == sorted(values, reverse=True)


def test_images_of_one_class_do_not_follow_each_other_for_ever() -> None:
    """Class 1 has five times the error of each of the others, and larger ones in every image."""
    error = np.zeros((30, 4))
    error[:20, 1], error[20:25, 2], error[25:, 3] = 0.05, 0.04, 0.04
    chosen = [image for image, _ in greedy(gain_of(error), list(range(30)), 12)]
    classes = np.bincount([int(error[image].argmax()) for image in chosen], minlength=4)
    assert classes[2] >= 2 and classes[3] >= 2 and classes[1] >= 2


def test_what_was_covered_before_counts() -> None:
    error = np.zeros((4, 3))
    error[:2, 1], error[2:, 2] = 0.2, 0.19
    gain = gain_of(error)
    assert greedy(gain_of(error), [1, 2, 3], 1)[0][0] == 1
    gain.add(0)
    assert greedy(gain, [1, 2, 3], 1)[0][0] == 2


def test_an_unusual_scene_and_the_factor_decide_between_equals() -> None:
    error = np.full((4, 2), 0.1)
    assert greedy(gain_of(error, scenes=np.array([-1, -1, 0, -1])), [0, 1, 2, 3], 1)[0][0] == 2
    assert greedy(gain_of(error, factor=np.array([0.5, 1, 0.7, 0.9])), [0, 1, 2, 3], 4)[0][0] == 1
    gain = gain_of(error, scenes=np.array([0, 0, 0, 1]))
    gain.add(0)
    assert gain.by_scene(1) < gain.by_scene(3)


def test_all_are_ranked_and_none_twice() -> None:
    chosen = greedy(gain_of(np.zeros((5, 2))), [4, 2, 0], 9)
    assert sorted(image for image, _ in chosen) == [0, 2, 4]
