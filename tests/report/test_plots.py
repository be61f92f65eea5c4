from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from deft.metrics.cooccurrence import class_by_class, class_by_context
from deft.report.data import Curve
from deft.report.plots import (
    Band,
    band_chart,
    bar_chart,
    cooccurrence_chart,
    loss_chart,
    scatter_chart,
    threshold_chart,
)

HOSTILE = ("_hidden", "$x^{2$", r"\frac$", "猫" * 80, "a\x00\nb", "<script>", "")


def drawn(png: bytes) -> bool:
    image = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    return bool((image < 128).any())


@pytest.mark.filterwarnings("error")
def test_charts_accept_hostile_names() -> None:
    points = ((0, 2.0), (10, 1.0), (20, 0.5))
    assert drawn(loss_chart(dict.fromkeys(HOSTILE, points)))
    assert drawn(threshold_chart({name: Curve((0.0, 0.5, 0.9), (0.1, 0.4, 0.2), 0.5, 0.2) for name in HOSTILE}))
    assert drawn(bar_chart({name: [(0.5, 0.1), (float("nan"), 0.0)] for name in HOSTILE}, ("$a$", "_b")))
    labels = np.random.default_rng(0).random((20, len(HOSTILE))) < 0.5
    assert drawn(cooccurrence_chart(class_by_class(labels, HOSTILE)))


@pytest.mark.filterwarnings("error")
def test_charts_accept_missing_and_extreme_values() -> None:
    nan = float("nan")
    assert drawn(loss_chart({"diverged": ((0, 1.0), (1, nan), (2, float("inf")))}))
    assert drawn(loss_chart({"one": ((0, 1.0),), "none": ()}))
    assert drawn(loss_chart({"wide": ((0, 1e6), (1, 1e-6))}))
    curves = {"unknown": Curve((0.0, 0.5), (nan, nan), 0.5, 0.2), "no threshold": Curve((0.0,), (0.3,))}
    assert drawn(threshold_chart({**curves, "empty": Curve((), (), 0.5, 0.2)}))
    assert drawn(cooccurrence_chart(class_by_class(np.zeros((2, 1), bool), ("one",))))


def test_the_threshold_in_use_and_the_one_chosen_without_masks_are_marked() -> None:
    """Each mark changes the picture where it stands, and there alone."""

    def picture(used: float | None = None, auto: float | None = None) -> np.ndarray:
        png = threshold_chart({"seeds": Curve((0.0, 0.1, 0.99), (0.0, 0.4, 0.4), used, auto)})
        return np.asarray(Image.open(io.BytesIO(png)).convert("L")).astype(int)

    def changed(one: np.ndarray, other: np.ndarray) -> tuple[float, float, int]:
        """Left and right end as shares of the width, and how many pixels."""
        where = np.flatnonzero((abs(one - other) > 16).any(axis=0))
        return where[0] / one.shape[1], where[-1] / one.shape[1], int((abs(one - other) > 16).sum())

    bare = picture()
    left, right, dot = changed(bare, picture(used=0.3))
    assert 0.2 < left < right < 0.5
    near, far, diamond = changed(bare, picture(auto=0.7))
    assert right < near < far < 0.85
    both = changed(bare, picture(used=0.3, auto=0.7))
    assert both == (left, far, dot + diamond)


def test_charts_of_many_classes_are_limited_in_size() -> None:
    labels, contexts = np.eye(200, dtype=bool), np.eye(200, dtype=bool)
    names = tuple(f"class {i}" for i in range(200))
    png = cooccurrence_chart(class_by_context(labels, contexts, names, names), limit=10)
    assert max(Image.open(io.BytesIO(png)).size) < 2000


@pytest.mark.filterwarnings("error")
def test_bands_and_points_accept_hostile_names_and_gaps() -> None:
    nan = float("nan")
    band = [Band(name, (0, 1, 2), (0.1, nan, 0.3), (nan, nan, 0.1)) for name in HOSTILE]
    assert drawn(band_chart({name: band for name in HOSTILE[:2]}, "step", "mean"))
    assert drawn(band_chart({"alone": [Band("one", (0,), (1.0,), (0.0,))]}, "step", "mean"))
    points = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    groups = [index % len(HOSTILE) for index in range(30)]
    assert drawn(scatter_chart(points, groups, HOSTILE, np.arange(30) % 2 == 0))
    names = [f"class {index}" for index in range(60)]
    assert drawn(scatter_chart(points, list(range(30)), names))
