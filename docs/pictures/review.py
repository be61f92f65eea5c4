"""The pictures of ``deft review`` in the documentation: ``python docs/pictures/review.py runs/demo/demo runs/quick/1``.

The first run is what ``make demo`` makes, or a shorter one on more scenes; the second one, which can learn on the page,
is that of ``deft quick demo:``. They are copied, so that their own reviews stay as they are. ``--all FOLDER`` writes
every state of the page, light and dark, on a laptop and on a tablet, to look at.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
LAPTOP, TABLET = (1280, 720), (1024, 768)


@contextmanager
def served(run: Path) -> Iterator[str]:
    """``deft review`` of a run, and the address it prints."""
    command = [sys.executable, "-u", "-m", "deft", "review", str(run), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield next(word for line in process.stdout for word in line.split() if "?token=" in word)
    finally:
        process.terminate()
        process.wait()


def polygon(page: Page) -> None:
    """Three corners of a polygon around something in the photograph."""
    box = page.locator(".leaflet-photo-pane img").bounding_box()
    assert box is not None
    page.keyboard.press("g")
    for x, y in ((0.2, 0.55), (0.42, 0.3), (0.74, 0.34)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.6 * box["height"])


def nothing(page: Page) -> None:
    page.fill("#filter-q", "no such name")
    page.wait_for_selector("#nothing:not([hidden])")


def tagged_no_more(page: Page) -> None:
    page.click(".tag[aria-pressed=true]")
    page.wait_for_selector("#ask[open]")


def decided(page: Page) -> None:
    """Some images further on."""
    for key in ("a", "a", "x"):
        page.keyboard.press(key)
        page.wait_for_timeout(500)


def unsaved(page: Page) -> None:
    page.context.set_offline(True)
    page.keyboard.press("a")
    page.wait_for_selector("#banner:not([hidden])")


def learning(page: Page) -> None:
    """A round is being made of one decision."""
    page.keyboard.press("a")
    page.wait_for_timeout(500)
    page.keyboard.press("q")
    page.wait_for_selector("#learning[data-state=learning]")
    page.wait_for_selector("#learning:has-text(':')", timeout=300_000)


LEARNING: dict[str, Callable[[Page], None]] = {"learning": learning, "keys": lambda page: page.keyboard.press("?")}
STATES: dict[str, Callable[[Page], None]] = {
    "polygon": polygon,
    "seeds": lambda page: page.keyboard.press("s"),
    "outline": lambda page: page.keyboard.press("o"),
    "tag": tagged_no_more,
    "decided": decided,
    "nothing": nothing,
    "unsaved": unsaved,
}


def pictures(
    address: str, states: dict[str, Callable[[Page], None]], everything: bool
) -> Iterator[tuple[str, Image.Image]]:
    """Name and picture of each state of the page."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, height in (LAPTOP, TABLET) if everything else (LAPTOP,):
            for scheme in ("light", "dark") if everything else ("light",):
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                    has_touch=(width, height) == TABLET,
                )
                for name, act in states.items():
                    page = context.new_page()
                    page.goto(address)
                    page.wait_for_selector("#rows img")
                    page.wait_for_selector("#rows .why:not(:empty)", timeout=300_000)
                    page.wait_for_timeout(1500)  # for thumbnails
                    act(page)
                    page.wait_for_timeout(1200)
                    yield f"{name}-{scheme}-{width}", Image.open(io.BytesIO(page.screenshot()))
                    context.set_offline(False)
                    page.close()
                context.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("quick", type=Path)
    parser.add_argument("--all", type=Path, help="folder for all states")
    arguments = parser.parse_args()
    for given, states in ((arguments.run, STATES), (arguments.quick, LEARNING)):
        with TemporaryDirectory() as folder:
            run = Path(folder) / given.name
            shutil.copytree(given, run, ignore=shutil.ignore_patterns("review"))
            with served(run) as address:
                for name, picture in pictures(address, states, everything=arguments.all is not None):
                    if arguments.all is not None:
                        arguments.all.mkdir(parents=True, exist_ok=True)
                        picture.save(arguments.all / f"{name}.png")
                    else:
                        path = HERE / f"review-{name.removesuffix('-light-1280')}.webp"
                        picture.convert("RGB").save(path, "WEBP", quality=75, method=6)


if __name__ == "__main__":
    main()
