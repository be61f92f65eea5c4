"""Grounds, sky and light of the drawn scenes."""

from __future__ import annotations

import numpy as np
import pytest

from deft.contracts import IGNORE
from deft.data.demo.backdrops import CONTEXTS, GROUNDS, TILE, backdrop, light, noise


def test_noise_tiles_and_follows_its_seed() -> None:
    tile = noise(np.random.default_rng(0), (6, 9), (20, 20))
    assert tile.shape == (TILE, TILE) and 0.2 < tile.std() < 1.0
    inside = np.abs(np.diff(tile, axis=1)).mean(axis=0).max()
    seam = np.abs(tile[:, 0] - tile[:, -1]).mean()
    assert seam <= 1.5 * inside
    assert np.array_equal(tile, noise(np.random.default_rng(0), (6, 9), (20, 20)))


@pytest.mark.parametrize("ground", range(len(GROUNDS)))
def test_contexts_end_at_the_horizon(ground: int) -> None:
    canvas, context = backdrop(ground, 0.4, 50, np.random.default_rng(1))
    assert canvas.shape == (50, 50, 3) and np.isfinite(canvas).all()
    assert set(np.unique(context[:20])) == {CONTEXTS.index("sky") + 1, IGNORE}
    assert set(np.unique(context[20:])) == {ground + 1}
    assert set(np.unique(backdrop(ground, -0.5, 50, np.random.default_rng(1))[1])) == {ground + 1}


def test_grounds_look_different_and_vary() -> None:
    """Mean colours: grass is greenest, water bluest, and no two roads are the same."""
    means = np.array(
        [
            [backdrop(ground, -0.5, 32, np.random.default_rng(seed))[0].mean(axis=(0, 1)) for seed in range(8)]
            for ground in range(3)
        ]
    )
    grass, water, road = means.mean(axis=1)
    assert grass[1] - grass[2] > 20 and water[2] - water[0] > 20 and np.ptp(road) < 25
    assert means[2].std(axis=0).min() > 3


def test_light_is_a_gentle_gradient() -> None:
    gain = light(16, np.random.default_rng(3))
    assert gain.shape == (16, 16, 3) and gain.dtype == np.float32
    assert gain.min() > 0.5 and gain.max() < 1.6
    assert np.abs(np.diff(gain, 2, axis=0)).max() < 1e-5
