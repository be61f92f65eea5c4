"""Nothing is lost: a server that ends, answers that do not arrive, full disks, and two windows on one image."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Dialog, Route, expect

from deft.artifacts.review import Review
from deft.cli.main import main
from deft.review.serve import listening
from driven_page import LAPTOP, Driven, brushed

Window = Callable[..., Driven]
THIN = 2


def dot(driven: Driven, x: float, y: float) -> None:
    driven.size(THIN)
    driven.press("b", "d")
    driven.stroke([(x, y)])


@contextmanager
def command(run: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``deft review`` in a process of its own, and the address it prints."""
    arguments = [sys.executable, "-m", "deft", "review", str(run), "--port", str(port), "--no-browser"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        lines = []
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", "".join(lines))):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_a_stroke_outlives_the_server_and_is_exported(browser: Browser, run: Path, tmp_path: Path) -> None:
    taken = listening(0)
    port = taken.getsockname()[1]
    taken.close()
    context = browser.new_context(viewport=LAPTOP)
    page = context.new_page()
    driven = Driven(page, None)  # type: ignore[arg-type]  # another server than that of the module
    review = Review(run, ("cat", "cow", "dog"))
    before = np.array(Image.open(run / "masks" / "img_00.png"))

    def stored() -> np.ndarray | None:
        return review.mask("img_00")

    with command(run, port) as (process, address):
        page.goto(f"{address}#image=0")
        page.wait_for_selector("#stage canvas.mask")
        dot(driven, 4.5, 4.5)
        driven.until(lambda: stored() is not None)
        process.send_signal(signal.SIGKILL)
        process.wait()
        dot(driven, 20.5, 60.5)
        expect(page.locator("#banner")).to_contain_text("Not saved: the server does not answer", timeout=20_000)
        expect(page.locator("#saving")).to_have_text("Not saved")
        dot(driven, 60.5, 60.5)
        expect(page.locator("#banner")).to_contain_text("2 changes are kept")
    with command(run, port) as (_, address):
        expect(page.locator("#banner")).to_contain_text("has a new address", timeout=20_000)
        page.fill("#banner-address", address)
        page.click("#banner-form button")
        expect(page.locator("#banner")).to_be_hidden(timeout=20_000)
        expect(page.locator("#saving")).to_have_text("Saved")
        painted = before
        for point in ((4.5, 4.5), (20.5, 60.5), (60.5, 60.5)):
            painted = brushed(painted, [point], 3, 255)
        assert np.array_equal(stored(), painted)
        page.keyboard.press("a")
        expect(page.locator("#name")).not_to_have_text("img_00")
        expect(page.locator("#saving")).to_have_text("Saved")
        page.click("#stop-open")
        page.click("#ask-answers .primary")
        expect(page.locator("#stage-empty")).to_contain_text("The review has ended")
    context.close()
    out = tmp_path / "exported"
    assert main(["export", str(run), "--format", "voc", "--masks", "reviewed", "--out", str(out)]) == 0
    assert np.array_equal(np.array(Image.open(out / "SegmentationClass" / "img_00.png")), painted)


def test_what_a_closed_window_could_not_send_is_sent_by_the_next(window: Window, shared: BrowserContext) -> None:
    first = window(0)
    before, revision = first.stored(0), first.entry(0)["revision"]
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    first.page.context.set_offline(True)
    dot(first, 30.5, 60.5)
    expect(first.page.locator("#banner")).to_contain_text("Not saved")
    first.page.on("dialog", stay)
    with first.page.expect_event("close"):
        first.page.close(run_before_unload=True)
    shared.set_offline(False)
    assert asked == ["beforeunload"]
    assert np.array_equal(first.stored(0), before)
    second = window(1)
    second.until(lambda: second.entry(0)["revision"] > revision)
    assert np.array_equal(second.stored(0), brushed(before, [(30.5, 60.5)], 3, 255))
    expect(second.page.locator("#said")).not_to_have_text("")
    first.errors.clear()  # the requests that failed


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_two_windows_do_not_overwrite_each_other(window: Window, keep: str) -> None:
    number = {"mine": 1, "theirs": 2}[keep]
    mine, theirs = window(number), window(number, viewport=LAPTOP)
    before = mine.stored(number)
    mine.page.wait_for_timeout(300)  # both have looked for a newer version
    theirs.step(number, lambda: dot(theirs, 4.5, 4.5))
    changed = brushed(before, [(4.5, 4.5)], 3, 255)
    dot(mine, 40.5, 4.5)
    expect(mine.page.locator("#ask-title")).to_have_text(f"img_0{number} was changed in another window")
    expect(mine.page.locator("#ask-pictures figure")).to_have_count(2)
    assert np.array_equal(mine.stored(number), changed)
    mine.page.click(f"#ask-answers button:has-text('Keep {keep}')")
    expect(mine.page.locator("#saving")).to_have_text("Saved")
    expected = brushed(before, [(40.5, 4.5)], 3, 255) if keep == "mine" else changed
    mine.until(lambda: np.array_equal(mine.shown(), mine.colours(expected)))
    assert np.array_equal(mine.stored(number), expected)
    if keep == "mine":
        mine.step(number, lambda: mine.press("Control+z"))
        assert np.array_equal(mine.stored(number), changed), "theirs is the step before"
    mine.errors.clear()  # the browser logs the status 409


def test_an_answer_that_is_lost_is_no_conflict(window: Window) -> None:
    driven = window(3)
    before, revision = driven.stored(3), driven.entry(3)["revision"]
    lost: list[int] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().status)
        route.abort()

    driven.page.route("**/api/image/3/mask*", lose)
    dot(driven, 4.5, 60.5)
    driven.until(lambda: lost)
    expect(driven.page.locator("#saving")).to_have_text("Saved")
    expect(driven.page.locator("#ask")).to_be_hidden()
    assert lost == [200]
    assert driven.entry(3)["revision"] == revision + 1
    assert np.array_equal(driven.stored(3), brushed(before, [(4.5, 60.5)], 3, 255))
    driven.errors.clear()


def test_a_full_disk_is_told_and_the_stroke_is_sent_again(window: Window) -> None:
    driven = window(4)
    before = driven.stored(4)
    full = "**/api/image/4/mask*"
    driven.page.route(
        full,
        lambda route: route.fulfill(status=500, json={"error": "No space left on device; this step was not written"}),
    )
    dot(driven, 4.5, 60.5)
    expect(driven.page.locator("#banner-text")).to_contain_text("No space left on device")
    driven.page.unroute(full)
    driven.page.click("#banner-retry")
    expect(driven.page.locator("#banner")).to_be_hidden()
    driven.until(lambda: np.array_equal(driven.stored(4), brushed(before, [(4.5, 60.5)], 3, 255)))
    driven.errors.clear()


def test_a_step_that_is_refused_is_told_and_not_shown_any_more(window: Window) -> None:
    driven = window(5)
    before = driven.stored(5)
    driven.page.route("**/api/image/5/mask*", lambda route: route.fulfill(status=400, json={"error": "no such class"}))
    dot(driven, 4.5, 60.5)
    expect(driven.page.locator("#said")).to_have_text("Not saved: no such class")
    driven.until(lambda: np.array_equal(driven.shown(), driven.colours(before)))
    expect(driven.page.locator("#saving")).to_have_text("Saved")
    driven.errors.clear()


def test_strokes_in_quick_succession_arrive_in_their_order(window: Window) -> None:
    driven = window(7)
    before, revision = driven.stored(7), driven.entry(7)["revision"]
    driven.size(THIN)
    driven.press("d")
    points = [(6.5 + 6 * number, 4.5) for number in range(8)]
    driven.click(points)
    driven.until(lambda: driven.entry(7)["revision"] == revision + len(points))
    painted = before
    for point in points:
        painted = brushed(painted, [point], 3, 255)
    assert np.array_equal(driven.stored(7), painted)
    driven.step(7, lambda: driven.press("Control+z"))
    assert np.array_equal(driven.stored(7)[:, :45], painted[:, :45])
    assert np.array_equal(driven.stored(7)[:, 45:], before[:, 45:])


def test_a_step_of_another_window_is_shown_before_it_can_be_undone(window: Window) -> None:
    mine, theirs = window(6), window(6, viewport=LAPTOP)
    before = mine.stored(6)
    mine.step(6, lambda: dot(mine, 4.5, 60.5))
    theirs.until(lambda: theirs.entry(6)["can_undo"])
    theirs.page.reload()
    theirs.page.wait_for_selector("#stage canvas.mask")
    theirs.step(6, lambda: dot(theirs, 60.5, 60.5))
    both = brushed(brushed(before, [(4.5, 60.5)], 3, 255), [(60.5, 60.5)], 3, 255)
    mine.press("Control+z")
    mine.until(lambda: np.array_equal(mine.shown(), mine.colours(both)))
    assert np.array_equal(mine.stored(6), both)
    mine.step(6, lambda: mine.press("Control+z"))
    assert np.array_equal(mine.stored(6), brushed(before, [(4.5, 60.5)], 3, 255))
    mine.errors.clear()  # the browser logs the status 409


def test_a_stroke_under_way_is_kept_when_a_key_goes_on(window: Window) -> None:
    driven = window(0)
    before, revision = driven.stored(0), driven.entry(0)["revision"]
    driven.size(THIN)
    driven.press("d")
    driven.page.mouse.move(*driven.at(60.5, 4.5))
    driven.page.mouse.down()
    driven.press("j")
    driven.until(lambda: driven.entry(0)["revision"] > revision)
    driven.page.mouse.up()
    assert np.array_equal(driven.stored(0), brushed(before, [(60.5, 4.5)], 3, 255))


def test_a_key_that_is_pressed_while_a_step_is_undone_comes_after_it(window: Window) -> None:
    driven = window(10)
    before = driven.stored(10)
    revision = driven.step(10, lambda: dot(driven, 4.5, 4.5))["revision"]
    assert not np.array_equal(driven.stored(10), before)
    driven.press("Control+z", "a")
    driven.until(lambda: driven.entry(10)["revision"] == revision + 2)
    assert driven.entry(10)["state"] == "accepted" and np.array_equal(driven.stored(10), before)
