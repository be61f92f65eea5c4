"""Superpixels: a partition into connected parts that follow edges."""

from __future__ import annotations

import numpy as np
import pytest

from deft.review.superpixels import SIDE, _lab, connected, superpixels
from fakes import noise


def halves(height: int = 60, width: int = 80) -> np.ndarray:
    """Red and blue beside each other, with an edge in column 33."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :33], image[:, 33:] = (200, 30, 30), (30, 30, 200)
    return image


def parts_of(inside: np.ndarray) -> int:
    """The number of connected parts of a region, by flooding one after the other."""
    left, count = set(map(tuple, np.argwhere(inside).tolist())), 0
    while left:
        pending, count = [left.pop()], count + 1
        while pending:
            y, x = pending.pop()
            near = {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} & left
            left -= near
            pending += near
    return count


def test_no_superpixel_crosses_an_edge() -> None:
    labels = superpixels(halves(), 48)
    assert not set(labels[:, :33].ravel()) & set(labels[:, 33:].ravel())
    assert 30 <= labels.max() + 1 <= 70


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (7, 3), (50, 64)])
@pytest.mark.parametrize("cells", [1, 10, 5000])
def test_labels_are_connected_and_without_gaps(size: tuple[int, int], cells: int) -> None:
    labels = superpixels(noise(*size), cells)
    assert labels.shape == size
    values = np.unique(labels)
    assert (values == np.arange(len(values))).all()
    for value in values[:20]:
        assert parts_of(labels == value) == 1


def test_large_photographs_get_labels_at_their_own_size() -> None:
    labels = superpixels(halves(90, SIDE + 200), 100)
    assert labels.shape == (90, SIDE + 200)
    assert labels.max() > 20


def test_connected_parts_are_those_of_flooding() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (30, 40), dtype=np.int32)
    found = connected(labels)
    expected = sum(parts_of(labels == value) for value in range(3))
    assert found.max() + 1 == expected
    for part in range(expected):
        inside = found == part
        assert len(np.unique(labels[inside])) == 1
        assert parts_of(inside) == 1


def test_lab_is_as_tabulated() -> None:
    """Colours of sRGB primaries and greys: L* and the signs and sizes of a*, b* as tabulated for D65."""
    colours = {(255, 255, 255): (100, 0, 0), (0, 0, 0): (0, 0, 0), (255, 0, 0): (53.2, 80.1, 67.2)}
    colours |= {(0, 255, 0): (87.7, -86.2, 83.2), (0, 0, 255): (32.3, 79.2, -107.9), (119, 119, 119): (50.0, 0, 0)}
    image = np.array([list(colours)], np.uint8)
    found = _lab(image)[:, 0].T
    assert np.abs(found - np.array(list(colours.values()))).max() < 0.5
