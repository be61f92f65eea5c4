"""Superpixels by clustering in colour and place: R. Achanta et al., "SLIC Superpixels", TPAMI 2012.

Colours are Lab as in the paper. A pixel is compared with the nine cells around its own place on the grid only, as in
gSLICr (Ren et al., 2015), and each connected part is a label of its own: the page fills what somebody clicks on. Large
photographs are clustered at :data:`SIDE` pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft.data.scaling import resized_mask, shrunk

SIDE = 640
"""Longer side at which clusters are made, in pixels."""
_STEPS = 6
_COMPACTNESS = 10.0
"""Distance in Lab that weighs as much as one cell's width."""


def superpixels(image: NDArray[np.uint8], cells: int) -> NDArray[np.int32]:
    """Labels of superpixels.

    Args:
        image: RGB, uint8 (H, W, 3).
        cells: about how many, at least 1.

    Returns:
        int32 (H, W), from 0, without gaps; the pixels of a label are connected.
    """
    small = shrunk(image, SIDE)
    height, width = small.shape[:2]
    spacing = max(1.0, (height * width / max(1, cells)) ** 0.5)
    rows, columns = max(1, round(height / spacing)), max(1, round(width / spacing))
    labels = connected(_clusters(_features(small, spacing), rows, columns))
    if small.shape == image.shape:
        return labels
    upper = [resized_mask((labels >> shift & 255).astype(np.uint8), image.shape[:2]) for shift in (0, 8, 16)]
    return upper[0].astype(np.int32) | upper[1].astype(np.int32) << 8 | upper[2].astype(np.int32) << 16


def _features(image: NDArray[np.uint8], spacing: float) -> NDArray[np.float32]:
    """Lab and place of each pixel, scaled so that distances compare, float32 (5, H, W)."""
    lab = _lab(image) / np.float32(_COMPACTNESS)
    places = np.indices(image.shape[:2], dtype=np.float32) / np.float32(spacing)
    return np.concatenate([lab, places])


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """CIELAB under D65 of sRGB pixels, float32 (3, H, W)."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float32
    ) / np.array([[0.9505], [1.0], [1.089]], dtype=np.float32)
    xyz = np.tensordot(to_xyz, linear[image], axes=(1, 2))
    cubic = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = cubic
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]).astype(np.float32)


def _clusters(features: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.int32]:
    """The cell of each pixel, int32 (H, W), after some steps of k-means from a regular grid."""
    _, height, width = features.shape
    row = (np.arange(height) * rows // height)[:, None]
    column = (np.arange(width) * columns // width)[None]
    labels: NDArray[np.int32] = (row * columns + column).astype(np.int32)
    flat = features.reshape(len(features), -1).astype(np.float64)
    count = rows * columns
    centres = np.zeros((len(features), count), dtype=np.float32)
    for _ in range(_STEPS):
        members = np.bincount(labels.ravel(), minlength=count)
        for f, values in enumerate(flat):
            sums = np.bincount(labels.ravel(), values, minlength=count)
            centres[f] = np.where(members > 0, sums / np.maximum(members, 1), centres[f])
        best = np.full((height, width), np.inf, dtype=np.float32)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                cell = np.clip(row + down, 0, rows - 1) * columns + np.clip(column + right, 0, columns - 1)
                distance = ((features - centres[:, cell]) ** 2).sum(axis=0)
                nearer = distance < best
                best[nearer] = distance[nearer]
                labels = np.where(nearer, cell, labels).astype(np.int32)
    return labels


def connected(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Connected parts (by edges) of equal labels, numbered from 0 in the order of their first pixels; int32 (H, W)."""
    height, width = labels.shape
    parts = np.arange(height * width, dtype=np.int32).reshape(height, width)
    down, right = labels[1:] == labels[:-1], labels[:, 1:] == labels[:, :-1]
    while True:
        before = parts.copy()
        for same, one, other in ((down, parts[1:], parts[:-1]), (right, parts[:, 1:], parts[:, :-1])):
            np.minimum(one, other, out=one, where=same)
            np.minimum(one, other, out=other, where=same)
        parts = parts.ravel()[parts]  # a part points to its least pixel, which points further
        if (parts == before).all():
            break
    _, numbered = np.unique(parts, return_inverse=True)
    result: NDArray[np.int32] = numbered.reshape(height, width).astype(np.int32)
    return result
