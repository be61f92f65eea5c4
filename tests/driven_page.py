"""The page of ``deft review`` in a browser, driven as a person would: by mouse, fingers and keys."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from review_runs import TOKEN, Client

Points = Sequence[tuple[float, float]]
LAPTOP = {"width": 1280, "height": 720}
TABLET = {"width": 1024, "height": 768}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; tests are skipped without it, but in CI they fail."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the page is tested in Chromium, which is not installed")
    sandbox = [] if os.name == "nt" or os.geteuid() else ["--no-sandbox"]  # as root it has none
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=sandbox)
        yield browser
        browser.close()


@dataclass
class Driven:
    """A window with the page of a run."""

    page: Page
    client: Client
    errors: list[str] = field(default_factory=list)
    """Errors of scripts, and of what was loaded."""

    def start(self, image: int | None = None) -> Driven:
        """Open the page, with an image, and wait until it is shown."""
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        fragment = "" if image is None else f"#image={image}"
        self.page.goto(f"http://127.0.0.1:{self.client.port}/?token={TOKEN}{fragment}")
        self.page.wait_for_selector("#stage canvas.mask")
        return self

    def open(self, number: int) -> None:
        """Open an image through its row."""
        self.page.click(f"#row-{number}")
        self.shows(number)

    def shows(self, number: int) -> None:
        """Wait until an image is open."""
        self.page.wait_for_selector(f"#row-{number}[aria-selected=true]")
        self.until(lambda: self.page.url.endswith(f"image={number}"))  # the policy forbids wait_for_function

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where on the screen a point of the photograph is, in pixels of it."""
        box = self.page.locator(".leaflet-photo-pane img").bounding_box()
        assert box is not None
        width = self.page.evaluate("document.querySelector('#stage canvas.mask').width")
        scale = box["width"] / width
        return box["x"] + x * scale, box["y"] + y * scale

    def stroke(self, points: Points) -> None:
        """Draw with the mouse."""
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point))
        self.page.mouse.up()

    def click(self, points: Points, **options: Any) -> None:
        for point in points:
            self.page.mouse.click(*self.at(*point), **options)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def size(self, index: int) -> None:
        """Choose the n-th size of the brush."""
        self.page.locator("#size").fill(str(index))

    def step(self, number: int, act: Callable[[], None]) -> dict[str, Any]:
        """Do something that changes an image, and wait until the server has it; returns the image's entry."""
        before = self.entry(number)["revision"]
        act()
        return self.until(lambda: found if (found := self.entry(number))["revision"] > before else None)

    def back(self, number: int, keys: str = "Control+z") -> dict[str, Any]:
        """Undo a step, or redo it, and wait until the page shows the mask: strokes before that would be lost."""
        entry = self.step(number, lambda: self.press(keys))
        self.until(lambda: np.array_equal(self.shown(), self.colours(self.stored(number))))
        return entry

    def until(self, found: Callable[[], Any], seconds: float = 8) -> Any:
        """What a call returns as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < end, f"not within {seconds} seconds; the page says {self.said()!r}"
            self.page.wait_for_timeout(20)
        return value

    def said(self) -> str:
        return str(self.page.text_content("#said"))

    def entry(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/api/image/{number}").json
        return found

    def stored(self, number: int, layer: str = "mask") -> np.ndarray:
        """The mask as the server has it."""
        return np.array(Image.open(io.BytesIO(self.client.get(f"/files/layer/{layer}/{number}.png").body)))

    def shown(self) -> np.ndarray:
        """Colours of the mask on the screen's canvas, (H, W, 4)."""
        found = self.page.evaluate(
            """() => { const canvas = document.querySelector("#stage canvas.mask");
              const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return [Array.from(data), height, width]; }"""
        )
        return np.array(found[0], dtype=np.uint8).reshape(found[1], found[2], 4)

    def colours(self, mask: np.ndarray) -> np.ndarray:
        """What ``shown`` returns for a mask."""
        table = np.zeros((256, 4), dtype=np.uint8)
        for each in self.client.get("/api/run").json["classes"]:
            table[each["id"]] = (*bytes.fromhex(each["color"][1:]), 255)
        table[255] = (0xE0, 0xE0, 0xC0, 255)
        return table[mask]


def brushed(mask: np.ndarray, points: Points, size: float, value: int) -> np.ndarray:
    """A mask with a stroke of a round brush: pixels whose centre is within half its size, found one by one."""
    made = mask.copy()
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False):
        length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
        along = np.clip(((columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)) / length, 0, 1)
        made[np.hypot(columns - x0 - along * (x1 - x0), rows - y0 - along * (y1 - y0)) <= size / 2] = value
    return made
