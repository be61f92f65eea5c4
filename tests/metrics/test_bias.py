from __future__ import annotations

import math

import numpy as np
import pytest

from deft.metrics.bias import SwapEffect, observed, share_above, sigmoid, swap_effect


def slow(logits: np.ndarray, own: list[int], companion: list[bool]) -> SwapEffect:
    lifts, lifts_p, away = [], [], []
    for p, home in enumerate(own):
        others = [n for n in range(len(companion)) if n != home]
        there = [n for n in others if companion[n]]
        elsewhere = [n for n in others if not companion[n]]
        lifts.append(np.mean([logits[p, n] for n in there]) - np.mean([logits[p, n] for n in elsewhere]))
        lifts_p.append(
            np.mean([1 / (1 + math.exp(-logits[p, n])) for n in there])
            - np.mean([1 / (1 + math.exp(-logits[p, n])) for n in elsewhere])
        )
        if companion[home]:
            away.append(
                np.mean([1 / (1 + math.exp(-logits[p, n])) for n in elsewhere]) - 1 / (1 + math.exp(-logits[p, home]))
            )
    return SwapEffect(float(np.mean(lifts)), float(np.mean(lifts_p)), float(np.mean(away)))


def test_swap_effect_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    logits, own, companion = rng.normal(size=(4, 9)), [0, 2, 3, 7], [True, False, True, False, True, False, True, 0, 0]
    found = swap_effect(logits, np.array(own), np.array(companion, dtype=bool))
    expected = slow(logits, own, [bool(each) for each in companion])
    assert found.lift_logits == pytest.approx(expected.lift_logits)
    assert found.lift == pytest.approx(expected.lift)
    assert found.away == pytest.approx(expected.away)


def test_the_lift_of_an_additive_score_does_not_depend_on_the_objects() -> None:
    rng = np.random.default_rng(1)
    backgrounds, companion = rng.normal(size=10), np.arange(10) < 4
    own = np.array([8, 9])  # with 2 added below: images whose backgrounds are not among those compared
    found = [
        swap_effect(
            strength[:, None] + np.append(backgrounds, [0.0, 0.0]), own + 2, np.append(companion, [False, False])
        )
        for strength in (rng.normal(size=2), rng.normal(size=2) * 9)
    ]
    assert found[0].lift_logits == pytest.approx(found[1].lift_logits)


def test_scores_that_do_not_depend_on_the_background_have_no_effect() -> None:
    logits = np.repeat(np.array([[1.0], [2.0]]), 5, axis=1)
    found = swap_effect(logits, np.array([0, 1]), np.array([True, False, True, False, False]))
    assert found == SwapEffect(pytest.approx(0), pytest.approx(0), pytest.approx(0))


def test_an_effect_without_backgrounds_of_both_kinds_is_nan() -> None:
    logits = np.zeros((2, 3))
    for everywhere in (True, False):
        found = swap_effect(logits, np.array([0, 1]), np.full(3, everywhere))
        assert math.isnan(found.lift)
        assert math.isnan(found.away)
    with pytest.raises(ValueError, match="objects, backgrounds"):
        swap_effect(logits, np.array([0]), np.full(3, True))


def test_observed_averages_over_four_kinds_of_images() -> None:
    found = observed(np.array([0.9, 0.6, 0.4, 0.1]), np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool))
    assert (found.with_it, found.without_it, found.tempted, found.calm) == (0.9, 0.6, 0.4, 0.1)
    assert math.isnan(observed(np.array([0.9]), np.array([True]), np.array([True])).calm)


def test_share_above_counts_images() -> None:
    among = np.array([True, True, True, False])
    assert share_above(np.array([0.9, 0.5, 0.51, 0.9]), among) == pytest.approx(2 / 3)
    assert math.isnan(share_above(np.zeros(4), ~among & among))


def test_sigmoid_of_large_logits() -> None:
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
