"""Vectors on a plane, and how well groups of them are apart: the only door to scikit-learn.

t-SNE (van der Maaten and Hinton, 2008, Journal of Machine Learning Research 9) keeps neighbours near and says nothing
of large distances: it is to be looked at. The silhouette (Rousseeuw, 1987) is the figure: for each vector, how much
nearer its own group is than the next one, from -1 to 1, averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError


def plane(vectors: NDArray[np.float32], perplexity: float = 30.0, seed: int = 0) -> NDArray[np.float32]:
    """t-SNE of vectors.

    Args:
        vectors: (N, C), N of at least 4.
        perplexity: about how many neighbours each keeps; at most (N - 1) / 3 is used.
        seed: of the algorithm; the same vectors and seed give the same picture.

    Returns:
        (N, 2).

    Raises:
        InputError: scikit-learn is missing, or there are fewer than 4 vectors.
    """
    if vectors.ndim != 2 or len(vectors) < 4:
        raise InputError(f"t-SNE needs at least 4 vectors, got {len(vectors)}; look at more images")
    manifold = _sklearn("manifold")
    method = manifold.TSNE(
        n_components=2,
        perplexity=min(perplexity, (len(vectors) - 1) / 3),
        init="pca",
        random_state=seed,
    )
    return np.asarray(method.fit_transform(vectors), dtype=np.float32)


def silhouette(vectors: NDArray[np.float32], groups: Sequence[int]) -> float:
    """Mean silhouette by Euclidean distance, in [-1, 1]; nan where there are not at least 2 groups of at least 2.

    Args:
        vectors: (N, C).
        groups: of each vector, (N,); groups of one vector are left out.

    Raises:
        InputError: scikit-learn is missing.
        ValueError: there is not one group a vector.
    """
    members = np.asarray(groups)
    if members.shape != (len(vectors),):
        raise ValueError(f"expected the group of each of {len(vectors)} vectors, got {members.shape}")
    names, counts = np.unique(members, return_counts=True)
    kept = np.isin(members, names[counts > 1])
    if len(np.unique(members[kept])) < 2:
        return float("nan")
    return float(_sklearn("metrics").silhouette_score(vectors[kept], members[kept]))


def check_installed() -> None:
    """Say that scikit-learn is missing before anything is trained.

    Raises:
        InputError: it is.
    """
    _sklearn("manifold")


def _sklearn(part: str) -> ModuleType:
    try:
        import sklearn.manifold
        import sklearn.metrics
    except ImportError:
        raise InputError(
            "this study needs scikit-learn, which is not installed: pip install 'deft-wsss[tsne]'"
        ) from None
    module: ModuleType = getattr(sklearn, part)
    return module
