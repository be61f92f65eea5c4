"""Learning from the page: what it shows meanwhile, and the new masks without a reload, in every window."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from deft.review import learning as module
from deft.review.learning import Learning
from deft.review.serve import opened
from driven_page import LAPTOP, Driven
from fake_learner import PROGRAM, next_masks, order
from review_runs import Client, served

Open = Callable[[int], Driven]


@pytest.fixture
def learning_client(run: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(module, "_PROGRAM", PROGRAM)
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    with closing(Learning(opened(run))) as learning, served(run, learning) as client:
        yield client


@pytest.fixture
def windows(browser: Browser, learning_client: Client) -> Iterator[Open]:
    context = browser.new_context(viewport=LAPTOP)
    opened: list[Driven] = []

    def window(image: int) -> Driven:
        opened.append(Driven(context.new_page(), learning_client).start(image))
        return opened[-1]

    yield window
    context.close()
    assert not [error for each in opened for error in each.errors]


def test_the_page_learns_and_loses_no_stroke(windows: Open, run: Path) -> None:
    next_masks(run, img_00=3, img_01=3, img_02=3)
    driven, other = windows(0), windows(1)
    page = driven.page
    before = driven.stored(0)
    driven.open(3)
    driven.step(3, lambda: driven.press("x"))
    driven.open(0)
    expect(page.locator("#learn")).to_have_attribute("title", "Learn from this review (q)")
    page.mouse.move(*driven.at(8.5, 8.5))
    driven.press("q")
    expect(page.locator("#learning")).to_contain_text("masks, ")
    expect(other.page.locator("#learning")).to_contain_text("masks, ")  # the other window is told
    assert driven.said() == "Learning: masks"
    page.click("#learn")  # once more
    expect(page.locator("#toast")).to_contain_text("it is learning already")
    assert "400" in driven.errors.pop()  # the browser says so too
    driven.press("b", "d")
    driven.size(2)
    page.mouse.move(*driven.at(8.5, 8.5))
    page.mouse.down()  # a stroke is under way when the new masks come
    row = other.page.locator("#row-2 img")
    thumbnail = row.get_attribute("src")
    order(run, "score")
    other.until(lambda: np.array_equal(other.shown(), other.colours(np.full_like(before, 3))))
    expect(row).not_to_have_attribute("src", thumbnail or "")
    expect(other.page.locator("#learning")).to_contain_text("Learning: scores")
    order(run, "learn")
    line = re.compile(r"Learned from 2 images in \d+ seconds?; 50\.0 mIoU on 3 images held out")
    expect(page.locator("#learning")).to_have_text(line)
    expect(page.locator("#toast")).to_contain_text("Learned from 2 images")
    assert driven.said().startswith("Learned from 2 images")
    assert np.array_equal(driven.shown()[20:], driven.colours(before)[20:])
    driven.step(0, page.mouse.up)
    stored = driven.stored(0)
    assert stored[8, 8] == 255 and np.array_equal(stored[20:], before[20:])
    assert driven.entry(0)["older_maps"]
    driven.open(2)
    driven.until(lambda: (driven.shown() == driven.colours(np.full_like(before, 3))).all())
    driven.press("p")
    driven.until(lambda: (driven.shown() == driven.colours(np.full_like(before, 3))).all())


def test_a_decision_about_a_mask_that_was_not_seen_is_refused(windows: Open, run: Path) -> None:
    next_masks(run, img_00=3)
    driven = windows(0)
    page = driven.page
    page.route("**/api/learning", lambda route: route.abort())  # this window does not hear of it
    driven.errors.clear()
    driven.client.post("/api/learn", {})
    order(run, "learn")
    driven.until(lambda: not driven.client.get("/api/learning").json["learning"])
    driven.press("a")
    expect(page.locator("#toast")).to_contain_text("look at it again")
    assert driven.entry(0)["state"] == "unreviewed"
    driven.open(0)
    driven.until(lambda: (driven.shown() == driven.colours(np.full((64, 64), 3, np.uint8))).all())
    driven.step(0, lambda: driven.press("a"))
    assert driven.entry(0)["state"] == "accepted"
    driven.errors[:] = [error for error in driven.errors if "400" not in error and "ERR_FAILED" not in error]


def test_other_runs_have_no_button(window: Callable[..., Driven]) -> None:
    driven = window(0)
    expect(driven.page.locator("#learn")).to_be_hidden()
    driven.press("q")
    assert driven.said() == "This run learns by the command that made it: repeat that"
