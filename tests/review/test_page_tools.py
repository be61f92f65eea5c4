"""The tools of the page: what is painted is what the server has, and what is exported."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deft.cli.main import main
from driven_page import TABLET, Driven, brushed

Window = Callable[..., Driven]
THIN = 2
"""The size of three pixels: no centre of a pixel is about as far from a point in the middle of one."""


def region(mask: np.ndarray, x: int, y: int) -> np.ndarray:
    """The pixels that are connected with one by edges, and of its value."""
    found = np.zeros(mask.shape, dtype=np.bool_)
    found[y, x] = True
    while True:
        grown = np.pad(found, 1)
        grown = grown[1:-1, 1:-1] | grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
        grown &= mask == mask[y, x]
        if (grown == found).all():
            return found
        found = grown


def background(mask: np.ndarray) -> tuple[int, int]:
    """A background pixel (x, y)."""
    rows, columns = np.nonzero(mask == 0)
    return int(columns[0]), int(rows[0])


def test_brush_and_eraser_change_the_pixels_under_them_and_no_others(window: Window) -> None:
    driven = window(1)
    before = driven.stored(1)
    driven.size(THIN)
    driven.press("1")
    value = driven.entry(1)["tags"][0]
    path = [(8.5, 8.5), (8.5, 40.5), (50.5, 40.5), (50.5, 58.5)]
    entry = driven.step(1, lambda: driven.stroke(path))
    painted = brushed(before, path, 3, value)
    assert np.array_equal(driven.stored(1), painted)
    assert np.array_equal(driven.shown(), driven.colours(painted))
    assert entry["state"] == "corrected"
    driven.press("e")
    across = [(2.5, 20.5), (20.5, 20.5)]
    driven.step(1, lambda: driven.stroke(across))
    erased = brushed(painted, across, 3, 0)
    assert np.array_equal(driven.stored(1), erased)
    driven.press("b", "d")  # ignore
    driven.step(1, lambda: driven.stroke([(60.5, 3.5)]))
    assert np.array_equal(driven.stored(1), brushed(erased, [(60.5, 3.5)], 3, 255))
    for expected in (erased, painted, before):
        driven.step(1, lambda: driven.press("Control+z"))
        driven.until(lambda expected=expected: np.array_equal(driven.shown(), driven.colours(expected)))
    driven.step(1, lambda: driven.press("Control+Shift+z"))
    assert np.array_equal(driven.stored(1), painted)


def test_a_zoomed_stroke_hits_the_pixel_under_the_pointer(window: Window) -> None:
    driven = window(2)
    before = driven.stored(2)
    driven.size(0)
    driven.page.mouse.move(*driven.at(50, 12))
    width = "document.querySelector('.leaflet-photo-pane img').getBoundingClientRect().width"
    fitted = driven.page.evaluate(width)
    driven.page.mouse.wheel(0, -600)
    driven.until(lambda: driven.page.evaluate(width) > 4 * fitted)
    driven.page.wait_for_timeout(400)  # the zoom is animated
    x, y = 49.5, 11.5
    assert before[11, 49] == 0
    driven.press("1")
    driven.step(2, lambda: driven.stroke([(x, y)]))
    assert np.argwhere(driven.stored(2) != before).tolist() == [[11, 49]]
    driven.page.keyboard.down(" ")
    driven.stroke([(49.5, 11.5), (45.5, 10.5)])
    driven.page.keyboard.up(" ")
    assert np.count_nonzero(driven.stored(2) != before) == 1, "the space bar moves the photograph"
    driven.press("z")
    driven.until(lambda: abs(driven.page.evaluate(width) - fitted) < 1)


def test_a_polygon_fills_what_its_corners_surround(window: Window) -> None:
    driven = window(3)
    before = driven.stored(3)
    corners = np.array([(10.0, 6.0), (58.0, 20.0), (20.0, 56.0), (26.0, 24.0)])
    driven.press("g", "2")
    value = {"cat": 1, "cow": 2, "dog": 3}[str(driven.page.locator(".paint[aria-pressed=true]").get_attribute("title"))]
    driven.click([(40, 40), *corners.tolist()])
    driven.press("Escape")
    driven.click([*corners.tolist(), (30, 50)])
    driven.page.focus("#stage")
    driven.press("Backspace")
    driven.step(3, lambda: driven.press("Shift+Enter"))
    rows, columns = np.mgrid[:64, :64] + 0.5
    inside, sure = np.zeros((64, 64), dtype=np.bool_), np.ones((64, 64), dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crossed = (y0 <= rows) != (y1 <= rows)
        inside ^= crossed & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
        length = np.hypot(x1 - x0, y1 - y0)
        sure &= abs((x1 - x0) * (rows - y0) - (y1 - y0) * (columns - x0)) / length > 0.15
    after = driven.stored(3)
    assert sure.mean() > 0.8 and inside[sure].any()
    assert np.array_equal(after[sure], np.where(inside, value, before)[sure])


@pytest.mark.parametrize("end", ["double click", "click on the first corner"])
def test_a_polygon_is_closed_by_the_mouse_alone(window: Window, end: str) -> None:
    driven = window(5)  # without a tag: all of its mask is background
    driven.press("g", "1")
    driven.click([(2, 2), (2, 60), (60, 60)])
    if end == "double click":
        driven.step(5, lambda: driven.page.mouse.dblclick(*driven.at(60, 2)))
        assert driven.stored(5)[4:58, 4:58].all()
    else:
        driven.step(5, lambda: driven.click([(2, 2)]))
        inside = driven.stored(5)[4:58, 4:58]
        assert inside[np.tri(*inside.shape, k=-3, dtype=np.bool_)].all()
        assert not inside[~np.tri(*inside.shape, k=3, dtype=np.bool_)].any()
    driven.back(5)


def test_fill_changes_a_region_or_all_regions_of_a_class(window: Window) -> None:
    driven = window(0)
    driven.size(THIN)
    driven.press("b", "0")
    cut = [(0.5, 30.5), (63.5, 30.5)]
    driven.step(0, lambda: driven.stroke(cut))
    mask = driven.stored(0)
    y, x = (int(each) for each in np.argwhere(mask > 0)[0])
    part = region(mask, x, y)
    assert 0 < part.sum() < (mask == mask[y, x]).sum(), "the cut leaves two regions"
    driven.press("f")
    driven.page.click("[aria-label='Classes to paint with, and tags'] [title=dog]")
    driven.step(0, lambda: driven.click([(x + 0.5, y + 0.5)]))
    filled = np.where(part, 3, mask)
    assert np.array_equal(driven.stored(0), filled)
    driven.back(0)
    driven.page.keyboard.down("Shift")
    driven.step(0, lambda: driven.click([(x + 0.5, y + 0.5)]))
    driven.page.keyboard.up("Shift")
    assert np.array_equal(driven.stored(0), np.where(mask == mask[y, x], 3, mask))


def test_superpixels_are_painted_whole(window: Window) -> None:
    driven = window(7)
    before = driven.stored(7)
    picture = np.array(Image.open(io.BytesIO(driven.client.get("/files/superpixels/7.png?cells=1200").body)))
    labels = picture.astype(np.int64) @ [1, 256, 65536]
    with driven.page.expect_response("**/files/superpixels/*"):
        driven.press("c")
    driven.page.wait_for_timeout(200)
    driven.press("d")
    path = [(12.5, 50.5), (12.5, 55.5), (30.5, 55.5)]
    driven.step(7, lambda: driven.stroke(path))
    touched = {*labels[50:56, 12].tolist(), *labels[55, 12:31].tolist()}
    assert 1 < len(touched) < labels.max()
    assert np.array_equal(driven.stored(7), np.where(np.isin(labels, list(touched)), 255, before))


class Fingers:
    """Touches of the screen."""

    def __init__(self, driven: Driven) -> None:
        self.session = driven.page.context.new_cdp_session(driven.page)

    def __call__(self, kind: str, *points: tuple[float, float]) -> None:
        sent: list[dict[str, Any]] = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": sent})


def test_one_finger_paints_and_two_zoom(window: Window) -> None:
    driven = window(4, viewport=TABLET, has_touch=True)
    touch = Fingers(driven)
    before = driven.stored(4)
    driven.size(THIN)
    driven.press("1")
    value = driven.entry(4)["tags"][0]
    path = [(30.5, 4.5), (30.5, 10.5), (44.5, 10.5)]

    def finger() -> None:
        touch("touchStart", driven.at(*path[0]))
        for point in path[1:]:
            touch("touchMove", driven.at(*point))
        touch("touchEnd")

    driven.step(4, finger)
    painted = brushed(before, path, 3, value)
    assert np.array_equal(driven.stored(4), painted)
    revision = driven.entry(4)["revision"]
    width = "document.querySelector('.leaflet-photo-pane img').getBoundingClientRect().width"
    fitted = driven.page.evaluate(width)
    (x, y), apart = driven.at(32, 32), 40
    touch("touchStart", (x - apart, y))
    touch("touchStart", (x - apart, y), (x + apart, y))
    for apart in range(50, 130, 10):
        touch("touchMove", (x - apart, y), (x + apart, y))
        driven.page.wait_for_timeout(20)
    touch("touchEnd")
    driven.until(lambda: driven.page.evaluate(width) > 2 * fitted)
    driven.page.wait_for_timeout(300)
    assert driven.entry(4)["revision"] == revision
    assert np.array_equal(driven.stored(4), painted)
    assert np.array_equal(driven.shown(), driven.colours(painted))


def test_what_was_painted_is_exported(window: Window, tmp_path: Path) -> None:
    driven = window(6)
    before = driven.stored(6)
    driven.size(THIN)
    driven.press("b", "1")
    value = driven.entry(6)["tags"][0]
    path = [(5.5, 60.5), (60.5, 60.5), (60.5, 30.5)]
    driven.step(6, lambda: driven.stroke(path))
    driven.step(6, lambda: driven.press("a"))
    out, run = tmp_path / "exported", driven.client.session.source.run
    assert main(["export", str(run), "--format", "voc", "--masks", "reviewed", "--out", str(out)]) == 0
    name = driven.entry(6)["name"]
    written = np.array(Image.open(out / "SegmentationClass" / f"{name}.png"))
    assert np.array_equal(written, brushed(before, path, 3, value))
