from __future__ import annotations

import numpy as np

from browser import ATTACKS, Page
from deft.report.data import PictureRow
from deft.report.html import render_sheet
from deft.report.sheet import Section, Sheet
from deft.report.summary import PLAIN, Line
from deft.report.tables import Cell, Row, Table


def test_a_section_shows_its_lines_table_and_pictures_in_this_order() -> None:
    picture = PictureRow("a photograph", ("cow",), (("as it is", np.zeros((4, 4, 3), np.uint8)),))
    table = Table(("one", "two"), (Row("left", (Cell("1.5"), Cell("2.5"))),))
    section = Section("What was found", "In a sentence.", (Line(PLAIN, "A statement."),), "side", table, (picture,))
    page = Page(render_sheet(Sheet("A sheet", "A lead.", (section,))))
    words = ("A sheet", "A lead.", "What was found", "In a sentence.", "A statement.", "side", "one", "left", "1.5")
    places = [page.text.index(word) for word in (*words, "a photograph")]
    assert places == sorted(places)
    assert page.tags.count("table") == 1 and len(page.sources()) == 1


def test_what_is_empty_is_left_out() -> None:
    page = Page(render_sheet(Sheet("A sheet", "A lead.", (Section("Nothing to show"),))))
    assert "Nothing to show" in page.text
    assert not {"table", "img", "article"} & set(page.tags)
    assert page.open == []


def test_a_sheet_escapes_every_name() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    table = Table(ATTACKS, tuple(Row(name, tuple(Cell(other) for other in ATTACKS), note=name) for name in ATTACKS))
    pictures = tuple(PictureRow(name, ATTACKS, ((name, picture),)) for name in ATTACKS)
    parts = tuple(
        Section(name, name, tuple(Line(PLAIN, other) for other in ATTACKS), name, table, pictures) for name in ATTACKS
    )
    text = render_sheet(Sheet(ATTACKS[0], ATTACKS[1], (*parts, Section("empty"))))
    page = Page(text)
    assert not page.open
    assert not {"script", "iframe", "object", "link", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert len(page.sources()) == len(ATTACKS) ** 2
    assert all(value.startswith("data:image/") for value in page.sources())
    assert "\u202e" not in text and "\x1b" not in text
    assert ATTACKS[0] in page.text
    assert "empty" in page.text
