"""Going through images on the page: order, filters, decisions, layers, the threshold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, expect

from driven_page import TABLET, Driven
from review_runs import Client, served, write_run

Window = Callable[..., Driven]


def rows(driven: Driven) -> list[str]:
    return driven.page.locator("#rows [role=option] b").all_text_contents()


def test_the_list_is_filtered_by_class_state_context_and_name(window: Window) -> None:
    driven = window()
    page = driven.page
    page.select_option("#filter-order", "name")
    for field, value, query in (
        ("class", "cow", "class=cow"),
        ("context", "road", "context=road"),
        ("state", "unreviewed", "state=unreviewed"),
    ):
        page.select_option("#filter-state", "")
        page.select_option(f"#filter-{field}", value)
        ids = driven.client.get(f"/api/images?order=name&{query}&fields=ids").json["ids"]
        assert ids
        expect(page.locator("#found")).to_have_text(f"{len(ids)} images")
        expect(page.locator("#rows [role=option] b")).to_have_text([driven.entry(each)["name"] for each in ids])
        page.select_option(f"#filter-{field}", "")
    page.fill("#filter-q", "G_07")
    expect(page.locator("#found")).to_have_text("1 image")
    expect(page.locator("#rows [role=option] b")).to_have_text(["img_07"])
    page.fill("#filter-q", "no such name")
    expect(page.locator("#found")).to_have_text("0 images")
    expect(page.locator("#nothing-text")).to_have_text("No image matches.")
    expect(page.locator("#accept")).to_be_disabled()
    page.click("#show-all")
    expect(page.locator("#found")).to_have_text("12 images")
    expect(page.locator("#accept")).to_be_enabled()


def test_accepting_goes_on_and_the_list_keeps_its_order(window: Window) -> None:
    driven = window()
    order = driven.client.get("/api/images?order=suggested&state=unreviewed&fields=ids").json["ids"]
    driven.shows(order[0])
    driven.step(order[0], lambda: driven.press("a"))
    driven.shows(order[1])
    driven.step(order[1], lambda: driven.page.click("#reject"))
    driven.shows(order[2])
    assert [driven.entry(each)["state"] for each in order[:3]] == ["accepted", "rejected", "unreviewed"]
    expect(driven.page.locator(f"#row-{order[0]} .state")).to_have_text("Accepted")
    expect(driven.page.locator("#progress-text")).to_have_text("2 of 12 reviewed")
    driven.press("k", "k")
    driven.shows(order[0])
    driven.step(order[0], lambda: driven.press("u"))
    driven.press("j")
    driven.shows(order[1])
    driven.step(order[1], lambda: driven.press("Control+z"))
    assert [driven.entry(each)["state"] for each in order[:2]] == ["unreviewed", "unreviewed"]
    expect(driven.page.locator("#progress-text")).to_have_text("0 of 12 reviewed")


def test_the_next_image_is_there_at_once(window: Window) -> None:
    driven = window()
    times = "performance.getEntriesByName('image shown').map(({ duration }) => duration)"
    for count in range(1, 7):
        driven.until(lambda count=count: len(driven.page.evaluate(times)) == count)
        driven.press("j")
    assert np.median(driven.page.evaluate(times)[1:]) < 500  # milliseconds; some 50 on a free machine


def test_layers_are_one_key_away_and_can_become_the_mask(window: Window) -> None:
    driven = window(0)
    for key, layer in (("p", "pseudo"), ("r", "refined"), ("s", "seeds"), ("m", "mask")):
        driven.press(key)
        expected = driven.colours(driven.stored(0, layer))
        driven.until(lambda expected=expected: np.array_equal(driven.shown(), expected))
    driven.press("s")
    driven.step(0, lambda: driven.page.click("#use-layer"))
    assert np.array_equal(driven.stored(0), driven.stored(0, "seeds"))
    assert not np.array_equal(driven.stored(0), driven.stored(0, "pseudo"))
    assert driven.entry(0)["state"] == "corrected"
    driven.step(0, lambda: driven.page.click("#undo"))
    assert np.array_equal(driven.stored(0), driven.stored(0, "pseudo"))
    driven.step(0, lambda: driven.page.click("#redo"))
    assert np.array_equal(driven.stored(0), driven.stored(0, "seeds"))


def test_outline_and_one_class_show_less_of_the_mask(window: Window) -> None:
    driven = window(3)  # of two classes
    mask = driven.stored(3)
    values = [value for value in np.unique(mask) if value]
    assert len(values) == 2
    driven.press("1", "i")
    only = driven.page.evaluate("document.querySelector('.paint[aria-pressed=true]').title")
    value = {"cat": 1, "cow": 2, "dog": 3}[only]
    assert np.array_equal(driven.shown(), driven.colours(np.where(mask == value, mask, 0)))
    driven.press("i", "o")
    drawn = driven.shown()[..., 3] > 0
    padded = np.pad(mask, 1)
    around = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    assert np.array_equal(drawn, (mask > 0) & np.any([each != mask for each in around], axis=0))
    driven.press("o", "h")
    expect(driven.page.locator("#stage canvas.mask")).to_be_hidden()
    driven.press("h")
    driven.page.locator("#opacity").fill("20")
    assert driven.page.evaluate("document.querySelector('#stage canvas.mask').style.opacity") == "0.2"


def test_the_threshold_slider_shows_what_the_server_makes(window: Window) -> None:
    driven = window(4)
    slider = driven.page.locator("#threshold")
    for value in (0.0, 0.17, 0.5, 0.83):
        before = driven.colours(driven.stored(4))
        slider.evaluate("(e, value) => { e.value = value; e.dispatchEvent(new Event('input')); }", value)
        driven.until(lambda before=before: not np.array_equal(driven.shown(), before))
        preview = driven.shown()
        assert np.array_equal(driven.colours(driven.stored(4)), before), "nothing is written while it moves"
        driven.step(4, lambda: slider.dispatch_event("change"))
        assert np.array_equal(preview, driven.colours(driven.stored(4)))
        driven.until(lambda preview=preview: np.array_equal(driven.shown(), preview))
        assert driven.entry(4)["threshold"] == value


def test_a_threshold_for_a_class_is_asked_about_first(window: Window) -> None:
    driven = window(6)
    before = {number: driven.stored(number) for number in range(8)}
    driven.page.locator("#threshold").evaluate("(e) => { e.value = 0.6; e.dispatchEvent(new Event('input')); }")
    driven.press("1")
    name = driven.page.locator(".paint[aria-pressed=true]").get_attribute("title")
    driven.page.click("#threshold-class")
    expect(driven.page.locator("#ask-title")).to_have_text(f"Threshold 0.60 for {name}?")
    driven.page.click("#ask-answers button:last-child")
    assert all(np.array_equal(driven.stored(number), mask) for number, mask in before.items())
    tagged = driven.client.get(f"/api/images?order=name&class={name}&state=unreviewed&fields=ids").json["ids"]
    driven.page.click("#threshold-class")
    driven.page.click("#ask-answers button:first-child")
    driven.until(lambda: not np.array_equal(driven.stored(6), before[6]))
    expect(driven.page.locator("#said")).to_contain_text("masks changed")
    same = {number for number, mask in before.items() if np.array_equal(driven.stored(number), mask)}
    assert set(range(8)) - same <= set(tagged)


def test_tags_are_added_and_taken_with_their_pixels(window: Window) -> None:
    driven = window(3)
    tags = driven.entry(3)["tags"]
    assert tags == [1, 2]
    assert driven.step(3, lambda: driven.page.click("[aria-label='Tag dog']"))["tags"] == [1, 2, 3]
    assert driven.step(3, lambda: driven.page.click("[aria-label='Tag cow']"))["tags"] == [1, 3]
    expect(driven.page.locator("#ask-title")).to_have_text("Clear cow from the mask?")
    mask = driven.stored(3)
    assert (mask == 2).any()
    driven.step(3, lambda: driven.page.click("text=Make them background"))
    assert np.array_equal(driven.stored(3), np.where(mask == 2, 0, mask))


def test_ten_thousand_images_are_a_few_rows(window: Window) -> None:
    driven = window()
    script = """async () => {
      const { Gallery } = await import("/static/page/gallery.js");
      const [element, spacer] = [document.createElement("div"), document.createElement("div")];
      element.style.cssText = "height: 500px; overflow: auto; position: relative";
      element.append(spacer); document.body.append(element);
      const asked = [], plain = window.fetch;
      window.fetch = async (path) => {
        const query = new URL(path, location).searchParams;
        const ids = query.get("ids")?.split(",").map(Number);
        if (ids) asked.push(...ids);
        const images = ids?.map((id) => ({ id, name: `image ${id}`, state: "unreviewed", revision: 0, own: "" }));
        return Response.json(images ? { images } : { ids: Array.from({ length: 10000 }, (_, i) => i) });
      };
      const rest = () => new Promise((done) => setTimeout(done, 250));
      const gallery = new Gallery(element, spacer, ({ state }) => ({ line: "", state }));
      await gallery.load("order=name"); await rest();
      const first = spacer.children.length;
      element.scrollTop = 72 * 9000; await rest();
      const texts = Array.from(spacer.children, (row) => row.textContent);
      window.fetch = plain; element.remove();
      return [first, texts.length, texts.includes("image 9003unreviewed"), asked.length, spacer.style.height];
    }"""
    first, later, found, asked, height = driven.page.evaluate(script)
    driven.errors.clear()  # there are no thumbnails of these images
    assert (found, height) == (True, "720000px")
    assert max(first, later) < 25
    assert asked < 60


def test_a_photograph_that_cannot_be_read_is_told_and_can_be_rejected(
    browser: Browser, tmp_path: Path, make_voc: Callable[..., Path]
) -> None:
    data = make_voc(tmp_path / "voc", count=6, side=32)
    run = write_run(tmp_path / "run", f"voc:{data}")
    (data / "JPEGImages" / "img_01.jpg").write_bytes(b"no photograph")
    with served(run) as client:
        context = browser.new_context()
        driven = Driven(context.new_page(), client).start(0)
        driven.press("j")
        driven.shows(1)
        expect(driven.page.locator("#stage-empty")).to_contain_text("img_01.jpg")
        driven.step(1, lambda: driven.press("x"))
        assert driven.entry(1)["state"] == "rejected"
        driven.shows(2)
        expect(driven.page.locator("#stage-empty")).to_be_hidden()
        context.close()


def test_a_tablet_shows_all_of_it(window: Window) -> None:
    driven = window(viewport=TABLET, has_touch=True)
    wide = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert driven.page.evaluate(wide) == [TABLET["width"], TABLET["height"]]
    small = """Array.from(document.querySelectorAll("main button, .top button")).filter((button) => {
      const { width, height } = button.getBoundingClientRect();
      return width && (Math.min(width, height) < 40) && !button.matches(".tag");
    }).map(({ textContent }) => textContent)"""
    assert driven.page.evaluate(small) == []


def test_nothing_is_written_into_the_page_that_its_policy_forbids(changed: Client) -> None:
    source = changed.get("/").body.decode()
    assert "style=" not in source
    assert "<script>" not in source and "<style>" not in source
    assert "onclick" not in source
