"""Shapes of the drawn classes."""

from __future__ import annotations

import numpy as np
import pytest

from deft.data.demo.silhouettes import SHAPES, ellipse, smooth, strip, turned


def area(points: np.ndarray) -> float:
    x, y = points.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_stands_on_the_ground_and_fits_its_box(name: str) -> None:
    for seed in range(40):
        parts = SHAPES[name](np.random.default_rng(seed))
        every = np.concatenate([part.points for part in parts])
        assert all(part.points.ndim == 2 and len(part.points) >= 3 for part in parts)
        assert np.isfinite(every).all()
        assert -0.15 <= every[:, 1].min() <= 0.05 and every[:, 1].max() <= 2.0
        assert np.abs(every[:, 0]).max() <= 1.4 and np.ptp(every[:, 0]) >= 1.2


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_varies(name: str) -> None:
    spans = [
        np.ptp(np.concatenate([part.points for part in SHAPES[name](np.random.default_rng(seed))]), axis=0)
        for seed in range(20)
    ]
    assert np.std(spans, axis=0).max() > 0.02


def test_an_ellipse_has_its_area_and_middle() -> None:
    points = ellipse(1.0, 2.0, 3.0, 0.5, corners=200)
    assert points.mean(axis=0) == pytest.approx([1.0, 2.0])
    assert area(points) == pytest.approx(np.pi * 1.5, rel=1e-3)


def test_smoothing_cuts_corners_but_keeps_the_middle() -> None:
    square = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    round_square = smooth(square)
    assert round_square.shape == (16, 2)
    assert 0.7 < area(round_square) < 1.0
    assert round_square.mean(axis=0) == pytest.approx([0.5, 0.5])


def test_a_straight_strip_is_a_rectangle() -> None:
    assert area(strip([(0.0, 0.0), (2.0, 0.0)], [0.5, 0.5])) == pytest.approx(1.0)


def test_turning_is_counter_clockwise_around_the_pivot() -> None:
    assert turned(np.array([[2.0, 1.0]]), (1.0, 1.0), 90.0) == pytest.approx(np.array([[1.0, 2.0]]))
