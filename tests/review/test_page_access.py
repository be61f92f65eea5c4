"""The page for the keyboard, for screen readers and for eyes: names, focus, announcements, contrast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from driven_page import LAPTOP, TABLET, Driven, brushed

Window = Callable[..., Driven]
CONTROLS = {"button", "checkbox", "combobox", "listbox", "option", "searchbox", "slider", "textbox", "link", "dialog"}


def tree(driven: Driven) -> list[tuple[str, str]]:
    """Role and name of everything that a screen reader meets."""
    session = driven.page.context.new_cdp_session(driven.page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]


def test_every_control_has_a_name(window: Window) -> None:
    driven = window(0)
    driven.page.wait_for_selector("#row-11 b")
    found = [(role, name) for role, name in tree(driven) if role in CONTROLS]
    assert len(found) > 50
    assert [role for role, name in found if not name] == []
    names = [name for role, name in found if role == "button"]
    for expected in ("Brush", "Superpixels", "Accept", "Undo", "Zoom in", "Tag cow", "Outline", "Seeds"):
        assert any(name.startswith(expected) for name in names), expected
    assert ("application", "Drawing area") in tree(driven)


def test_no_name_is_given_twice_to_controls_of_one_kind(window: Window) -> None:
    driven = window(0)
    names = [(role, name) for role, name in tree(driven) if role in ("button", "combobox", "slider", "searchbox")]
    assert len(names) == len(set(names))


def test_an_image_is_corrected_and_accepted_with_keys_alone(window: Window) -> None:
    driven = window(1)
    before, value = driven.stored(1), driven.entry(1)["tags"][0]
    driven.press("b", "1")
    for _ in range(20):
        driven.press("[")
    driven.press("]", "]", "w")  # three pixels
    expect(driven.page.locator("#stage")).to_be_focused()
    driven.press("ArrowUp", *["Shift+ArrowUp"] * 8)
    driven.press("Enter", *["Shift+ArrowRight"] * 5)
    driven.step(1, lambda: driven.press("Enter"))
    driven.press(*["Shift+ArrowLeft"] * 5)
    changed = driven.stored(1)
    ys, xs = np.nonzero(changed != before)
    step = round(12 / driven.page.evaluate("document.querySelector('.leaflet-photo-pane img').width / 64"))
    y = 32 - max(1, step) - 8 + 0.5
    assert np.array_equal(changed, brushed(before, [(32.5, y), (37.5, y)], 3, value)), (ys, xs)
    driven.back(1)
    assert np.array_equal(driven.stored(1), before)
    driven.back(1, "Control+y")
    assert np.array_equal(driven.stored(1), changed)
    driven.step(1, lambda: driven.press("a"))
    driven.until(lambda: driven.said() != "")
    assert driven.entry(1)["state"] == "corrected"


def test_the_list_is_walked_with_arrows(window: Window) -> None:
    driven = window()
    driven.page.select_option("#filter-order", "name")
    driven.page.select_option("#filter-state", "")
    expect(driven.page.locator("#found")).to_have_text("12 images")
    driven.press("l")
    expect(driven.page.locator("#rows")).to_be_focused()
    driven.press("End")
    driven.shows(11)
    driven.press("ArrowUp")
    driven.shows(10)
    expect(driven.page.locator("#rows")).to_have_attribute("aria-activedescendant", "row-10")
    row = driven.page.locator("#row-10")
    assert [row.get_attribute(name) for name in ("aria-posinset", "aria-setsize")] == ["11", "12"]
    assert str(row.get_attribute("aria-label")).startswith("img_10, Unreviewed")


def test_a_class_is_found_by_its_name_and_tagged_by_a_key(window: Window) -> None:
    driven = window(2)
    driven.page.evaluate("document.getElementById('class-find-label').hidden = false")
    driven.press("/")
    driven.page.keyboard.type("co")
    expect(driven.page.locator(".class")).to_have_count(1)
    driven.press("Enter")
    expect(driven.page.locator(".paint[aria-pressed=true]")).to_have_attribute("title", "cow")
    expect(driven.page.locator("#stage")).to_be_focused()
    assert 2 in driven.step(2, lambda: driven.press("y"))["tags"]
    expect(driven.page.locator("#said")).to_have_text("cow is a tag")


def test_dialogs_hold_the_focus_and_give_it_back(window: Window) -> None:
    driven = window(3)
    driven.page.focus("#help-open")
    driven.press("?")
    expect(driven.page.locator("#help")).to_be_visible()
    inside = (
        "document.activeElement === document.body || document.getElementById('help').contains(document.activeElement)"
    )
    for _ in range(6):
        assert driven.page.evaluate(inside)
        driven.press("Tab")
    driven.press("a")  # no key of the page works behind a dialog
    driven.press("Escape")
    expect(driven.page.locator("#help")).to_be_hidden()
    expect(driven.page.locator("#help-open")).to_be_focused()
    assert driven.entry(3)["state"] == "unreviewed"


def test_keys_of_single_letters_can_be_turned_off(window: Window) -> None:
    driven = window(4, viewport=LAPTOP)
    driven.press("?")
    driven.page.uncheck("#single-keys")
    driven.press("Escape", "e")
    expect(driven.page.locator("[data-name=brush]")).to_have_attribute("aria-pressed", "true")
    driven.page.click("#help-open")
    driven.page.check("#single-keys")
    driven.press("Escape", "e")
    expect(driven.page.locator("[data-name=eraser]")).to_have_attribute("aria-pressed", "true")
    driven.page.fill("#filter-q", "")
    driven.page.type("#filter-q", "b")  # typing is no key
    expect(driven.page.locator("[data-name=eraser]")).to_have_attribute("aria-pressed", "true")


def test_every_key_of_the_list_does_something(window: Window) -> None:
    driven = window(5)
    script = "async () => (await import('/static/page/keys.js')).names()"
    names = driven.page.evaluate(script)
    assert len(names) == len(set(names)) > 30
    driven.press("?")
    shown = driven.page.locator("#help-keys dd").count()
    assert shown > len(names)


CONTRAST = """() => {
  const parsed = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parsed(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    if (!walker.currentNode.data.trim() || box.width < 2 || element.closest(":disabled, .unseen, option")) continue;
    const [a, b] = [light(parsed(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, walker.currentNode.data.trim()]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_and_nothing_overflows(window: Window, scheme: str) -> None:
    driven = window(3, viewport=TABLET, has_touch=True, color_scheme=scheme)
    driven.press("?")
    texts = driven.page.evaluate(CONTRAST)
    driven.press("Escape")
    driven.page.wait_for_selector("#row-3 b")
    texts += driven.page.evaluate(CONTRAST)
    assert len(texts) > 150
    assert [text for ratio, text in texts if ratio < 4.5] == []
    over = """Array.from(document.querySelectorAll("button, .facts, .viewing, .filters, .slider, dialog"))
      .filter((each) => each.clientWidth && each.scrollWidth > each.clientWidth + 1).map((each) => each.outerHTML)"""
    assert driven.page.evaluate(over) == []
