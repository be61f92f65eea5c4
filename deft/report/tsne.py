"""t-SNE and silhouette coefficients of vectors; the only module that imports scikit-learn.

t-SNE (van der Maaten and Hinton, 2008, Journal of Machine Learning Research 9) preserves neighbourhoods, not large
distances: it is for visual inspection. The silhouette coefficient (Rousseeuw, 1987) is a measure: for each vector, how
much closer it is to its own group than to the nearest other one, from -1 to 1, averaged over the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError


def tsne(vectors: NDArray[np.float32], perplexity: float = 30.0, seed: int = 0) -> NDArray[np.float32]:
    """Coordinates of vectors, embedded in two dimensions by t-SNE.

    Args:
        vectors: (N, C), N of at least 4.
        perplexity: roughly the number of neighbours considered for each vector; at most (N - 1) / 3 is used.
        seed: random seed; the same vectors and seed give the same result.

    Returns:
        (N, 2).

    Raises:
        InputError: scikit-learn is missing, or there are fewer than 4 vectors.
    """
    if vectors.ndim != 2 or len(vectors) < 4:
        raise InputError(f"expected at least 4 vectors for t-SNE, got {len(vectors)}; use more images")
    manifold = _sklearn("manifold")
    method = manifold.TSNE(
        n_components=2,
        perplexity=min(perplexity, (len(vectors) - 1) / 3),
        init="pca",
        random_state=seed,
    )
    return np.asarray(method.fit_transform(vectors), dtype=np.float32)


def silhouette(vectors: NDArray[np.float32], groups: Sequence[int]) -> float:
    """Mean silhouette coefficient by Euclidean distance, in [-1, 1]; nan for fewer than 2 groups of 2 or more vectors.

    Args:
        vectors: (N, C).
        groups: group of each vector, (N,); groups of one vector are left out.

    Raises:
        InputError: scikit-learn is missing.
        ValueError: the numbers of groups and vectors differ.
    """
    members = np.asarray(groups)
    if members.shape != (len(vectors),):
        raise ValueError(f"expected one group for each of {len(vectors)} vectors, got {members.shape}")
    names, counts = np.unique(members, return_counts=True)
    kept = np.isin(members, names[counts > 1])
    if len(np.unique(members[kept])) < 2:
        return float("nan")
    return float(_sklearn("metrics").silhouette_score(vectors[kept], members[kept]))


def check_installed() -> None:
    """Check that scikit-learn is installed, before anything is trained.

    Raises:
        InputError: it is not installed.
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
