from __future__ import annotations

import numpy as np
import pytest

from deft.segment.tile_layout import Axis, cores, fading, spans


@pytest.mark.parametrize(
    ("cells", "tile", "overlap"), [(100, 24, 12), (101, 24, 6), (64, 64, 16), (65, 64, 0), (9, 4, 1)]
)
def test_weights_of_all_tiles_reach_every_cell(cells: int, tile: int, overlap: int) -> None:
    total = np.zeros(cells)
    for span in spans(cells, tile, overlap):
        weights = fading(span, cells, overlap)
        assert weights.max() == 1 or overlap * 2 > tile
        total[span[0] : span[1]] += weights
    assert total.min() > 0.999  # more where the last tile overlaps more
    regular = spans(cells, tile, overlap)[:-1]
    if len(regular) > 1:
        assert total[: regular[-1][0]] == pytest.approx(1)


@pytest.mark.parametrize(("full", "base", "view"), [(1000, 500, 375), (1000, 500, 625), (333, 333, 333), (7, 7, 4)])
def test_cores_cover_each_view_once_and_lie_in_their_windows(full: int, base: int, view: int) -> None:
    axis = Axis(full, base, view, 16, 4)
    tiles = spans(axis.cells, 32, 16)
    found = [own for (own,) in cores(tiles, [axis])]
    assert found[0][0] == 0
    assert found[-1][1] == axis.padded // 16
    assert [stop for _, stop in found[:-1]] == [start for start, _ in found[1:]]
    for tile, (start, stop) in zip(tiles, found, strict=True):
        begin, end = axis.window(*tile)
        assert begin % 16 == end % 16 == 0 and end - begin >= 32
        assert begin // 16 <= start <= stop <= end // 16


@pytest.mark.parametrize("view", [37, 75, 100, 125, 300])
def test_resampling_keeps_what_is_linear(view: int) -> None:
    """A ramp over the view is the same ramp over the base view, apart from its ends."""
    axis = Axis(1600, 1600, 16 * view, 16, 4)
    begin, end = axis.window(100, 200)
    ramp = (np.arange(begin // 4, end // 4) + 0.5) * 100 / view
    weights = axis.weights(100, 200)
    if weights is None:
        assert view == 100
        return
    assert weights.shape == (100, len(ramp))
    assert weights.sum(dim=1).numpy() == pytest.approx(1)
    assert (weights.numpy() @ ramp)[10:-10] == pytest.approx((np.arange(100, 200) + 0.5)[10:-10], abs=0.05)


def test_pixels_of_a_photograph_lie_between_cells() -> None:
    axis = Axis(64, 32, 32, 16, 4)
    assert axis.places()[[0, 4, 63]].tolist() == [0.0, 0.0625, 7.0]
    assert [axis.pixel(edge) for edge in (0, 1, 4, 8)] == [0, 8, 32, 64]
