from __future__ import annotations

import sys

import numpy as np
import pytest

from deft.contracts import InputError
from deft.report.tsne import check_installed, silhouette, tsne

pytest.importorskip("sklearn")


def clouds(apart: float) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(20, 5))
    vectors[10:] += apart
    return vectors.astype(np.float32)


def slow(vectors: np.ndarray, groups: list[int]) -> float:
    values = []
    for i, one in enumerate(vectors):
        mean = {}
        for group in set(groups):
            others = [j for j in range(len(groups)) if groups[j] == group and j != i]
            mean[group] = np.mean([np.linalg.norm(one - vectors[j]) for j in others])
        inside = mean.pop(groups[i])
        outside = min(mean.values())
        values.append((outside - inside) / max(inside, outside))
    return float(np.mean(values))


def test_silhouette_equals_a_loop() -> None:
    groups = [0] * 7 + [1] * 8 + [2] * 5
    assert silhouette(clouds(1.0), groups) == pytest.approx(slow(clouds(1.0), groups), abs=1e-5)


def test_separate_clusters_stay_separate_under_tsne() -> None:
    groups = [0] * 10 + [1] * 10
    vectors = clouds(20.0)
    points = tsne(vectors, seed=1)
    assert points.shape == (20, 2)
    assert silhouette(points, groups) > 0.5
    assert (tsne(vectors, seed=1) == points).all()


def test_the_silhouette_of_single_vectors_or_a_single_group_is_nan() -> None:
    vectors = clouds(5.0)
    assert silhouette(vectors, [0] * 10 + [1] * 9 + [2]) == pytest.approx(
        silhouette(vectors[:19], [0] * 10 + [1] * 9), abs=1e-6
    )
    assert np.isnan(silhouette(vectors, [0] * 20))
    assert np.isnan(silhouette(vectors, list(range(20))))


def test_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="at least 4 vectors"):
        tsne(clouds(0.0)[:3])
    with pytest.raises(ValueError, match="one group for each"):
        silhouette(clouds(0.0), [0])
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(InputError, match=r"deft-wsss\[tsne\]"):
        check_installed()
