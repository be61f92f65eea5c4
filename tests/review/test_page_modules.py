"""What the page computes, against other implementations: PNG files, masks at a threshold, rasters."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deft.contracts import SeedMaps
from deft.seedmaps import full_mask, grid
from driven_page import Driven, brushed

Window = Callable[..., Driven]


@pytest.fixture(scope="module")
def call(browser: Any, changed: Any) -> Callable[..., Any]:
    """``call(module, code, **values)`` evaluates code with a module of the page as ``m`` and values as ``v``."""
    driven = Driven(browser.new_page(), changed).start()

    def call(module: str, code: str, **values: Any) -> Any:
        script = f"async (v) => {{ const m = await import('/static/page/{module}'); {code} }}"
        return driven.page.evaluate(script, values)

    return call


def png(picture: Image.Image, **options: Any) -> list[int]:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return list(file.getvalue())


READ = "const f = await m.decode(new Uint8Array(v.file).buffer); return [f.height, f.width, Array.from(f.data)];"


@pytest.mark.parametrize(("mode", "bits"), [("P", 1), ("P", 2), ("P", 4), ("P", 8), ("L", 8)])
def test_masks_of_any_depth_are_read(call: Callable[..., Any], mode: str, bits: int) -> None:
    mask = np.random.default_rng(bits).integers(0, 2**bits, (5, 13), dtype=np.uint8)
    picture = Image.fromarray(mask)
    if mode == "P":
        picture.putpalette(  # makes it one of a palette
            [(37 * value) % 256 for value in range(3 * 2**bits)]
        )
    options = {"bits": bits} if mode == "P" else {}
    height, width, data = call("png.js", READ, file=png(picture, **options))
    assert np.array_equal(np.reshape(data, (height, width)), mask)


def test_superpixels_of_smooth_and_of_noisy_pictures_are_read(call: Callable[..., Any]) -> None:
    rows, columns = np.mgrid[:40, :50]
    noise = np.random.default_rng(0).integers(0, 2**24, (40, 50))
    for labels in (rows // 5 * 300 + columns // 4, noise, rows * 1000 + columns, noise // 70_000 * 70_000):
        colours = np.stack([labels % 256, labels // 256 % 256, labels // 65536], -1).astype(np.uint8)
        height, width, data = call("png.js", READ, file=png(Image.fromarray(colours)))
        assert np.array_equal(np.reshape(data, (height, width)), labels)


def test_what_is_written_is_a_png_that_others_read(call: Callable[..., Any]) -> None:
    mask = np.random.default_rng(1).integers(0, 256, (31, 17), dtype=np.uint8)
    code = """const blob = await m.encode({ width: 17, height: 31, data: new Uint8Array(v.data) });
      return Array.from(new Uint8Array(await blob.arrayBuffer()));"""
    written = bytes(call("png.js", code, data=mask.ravel().tolist()))
    found = Image.open(io.BytesIO(written))
    found.verify()
    assert np.array_equal(np.array(Image.open(io.BytesIO(written))), mask)


@pytest.mark.parametrize("cut", [0, 20, 60, -20])
def test_a_part_of_a_png_is_refused(call: Callable[..., Any], cut: int) -> None:
    whole = png(Image.fromarray(np.random.default_rng(2).integers(0, 9, (40, 40), dtype=np.uint8)))
    code = "return m.decode(new Uint8Array(v.file).buffer).then(() => '', ({ message }) => message);"
    assert call("png.js", code, file=whole[:cut])


AT = """const found = m.read(new Uint8Array(v.file).buffer);
  return Array.from(m.maskAt(m.strongest(found, v.width, v.height), v.threshold).data);"""


@pytest.mark.parametrize("size", [(1, 1), (4, 9), (37, 50), (33, 64)])
@pytest.mark.parametrize("planes", [0, 1, 3])
def test_masks_at_a_threshold_are_those_of_the_server(
    call: Callable[..., Any], size: tuple[int, int], planes: int
) -> None:
    rng = np.random.default_rng(size[0] + planes)
    rows, columns = grid(size)
    maps = (rng.integers(0, 256, (planes, rows, columns)) / 255).astype(np.float32)  # as maps are stored
    classes = (0, 2, 5)[:planes]
    for full, threshold in ((size, 0.0), (size, 0.37), ((2 * size[0] + 1, size[1]), 0.6)):
        seeds = SeedMaps(classes, torch.from_numpy(maps), size, photograph=None if full == size else full)
        header = struct.pack(f"<5I{planes}I", planes, rows, columns, *size, *(k + 1 for k in classes))
        found = call(
            "maps.js", AT, file=list(header + maps.tobytes()), width=full[1], height=full[0], threshold=threshold
        )
        expected = full_mask(seeds, threshold)
        assert np.mean(np.reshape(found, full) != expected) < (0.001 if full == size else 0.005)


def test_a_score_equal_to_the_threshold_is_background_and_the_first_class_wins_a_tie(call: Callable[..., Any]) -> None:
    maps = np.full((2, 2, 2), 0.25, dtype=np.float32)
    file = list(struct.pack("<7I", 2, 2, 2, 5, 5, 7, 3) + maps.tobytes())
    assert set(call("maps.js", AT, file=file, width=5, height=5, threshold=0.25)) == {0}
    assert set(call("maps.js", AT, file=file, width=5, height=5, threshold=0.2499)) == {7}


def test_lines_of_a_brush_are_the_pixels_near_them(call: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    code = """const mask = { width: 30, height: 20, data: new Uint8Array(600) };
      const box = m.line(mask, v.from, v.to, v.size, 9); return [box, Array.from(mask.data)];"""
    for _ in range(12):
        (x0, x1), (y0, y1) = rng.uniform(-6, 36, 2), rng.uniform(-6, 26, 2)
        size = float(rng.uniform(2, 12))
        box, data = call("raster.js", code, **{"from": {"x": x0, "y": y0}, "to": {"x": x1, "y": y1}}, size=size)
        painted = np.reshape(data, (20, 30))
        assert np.array_equal(painted, brushed(np.zeros((20, 30), np.uint8), [(x0, y0), (x1, y1)], size, 9))
        rows, columns = np.nonzero(painted)
        if len(rows):
            assert box["left"] <= columns.min() and columns.max() < box["right"] <= 30
            assert box["top"] <= rows.min() and rows.max() < box["bottom"] <= 20


def test_the_smallest_brush_paints_the_pixel_under_it(call: Callable[..., Any]) -> None:
    code = """const mask = { width: 4, height: 3, data: new Uint8Array(12) };
      m.line(mask, v, v, 1, 1); return Array.from(mask.data);"""
    for x, y in ((0.01, 0.01), (2.99, 1.5), (3.5, 2.99)):
        expected = np.zeros((3, 4), np.uint8)
        expected[int(y), int(x)] = 1
        assert call("raster.js", code, x=x, y=y) == expected.ravel().tolist()
    assert not any(call("raster.js", code, x=-3, y=1))


def test_polygons_beside_the_photograph_are_cut_off(call: Callable[..., Any]) -> None:
    code = """const mask = { width: 6, height: 5, data: new Uint8Array(30) };
      m.polygon(mask, v.corners.map(([x, y]) => ({ x, y })), 4); return Array.from(mask.data);"""
    found = np.reshape(call("raster.js", code, corners=[(-5, 1), (3, 1), (3, 99), (-5, 99)]), (5, 6))
    expected = np.zeros((5, 6), np.uint8)
    expected[1:, :3] = 4
    assert np.array_equal(found, expected)
    assert not any(call("raster.js", code, corners=[(10, 10), (20, 10), (20, 20)]))
