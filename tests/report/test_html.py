from __future__ import annotations

import base64
import hashlib
import re

import numpy as np

from browser import ATTACKS, Page
from deft.metrics.cooccurrence import class_by_class, class_by_context
from deft.metrics.coverage import Coverage
from deft.report.data import Comparison, Curve, PictureRow, ReportData, Score, SplitFacts, StageRow
from deft.report.html import MAX_ROWS, render


def full(names: tuple[str, ...]) -> ReportData:
    rng = np.random.default_rng(0)
    size = len(names)
    labels = rng.random((30, size)) < 0.5
    coverage = Coverage(size)
    coverage.update(np.ones((4, 4), np.uint8), np.ones((4, 4), np.float32), labels[0])
    picture = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    rows = tuple(PictureRow(name, names, ((name, picture), ("mask", picture // 128 * 128)), 0.5) for name in names)
    ious = tuple(float(value) for value in rng.random(size + 1))
    return ReportData(
        title=names[0],
        recipe=names[1],
        classes=names,
        facts=dict.fromkeys(names, names[0]),
        settings={names[0]: {names[1]: names[2]}},
        products={names[1]: names[1]},
        splits=(SplitFacts(names[0], 30, 30, tuple(range(size)), names[1]),),
        stages=tuple(StageRow(name, 3.0, name, name) for name in names),
        scores=(
            Score(names[0], names[1], 0.4, threshold=0.1, per_class=ious),
            Score(names[0], names[1], 0.5, threshold=0.2, chosen="auto", per_class=ious),
            Score(names[0], names[1], 0.6, threshold=0.3, chosen="swept", per_class=ious),
        ),
        curves={name: Curve((0.0, 0.5), (0.1, 0.2), 0.5, 0.25) for name in names},
        pictures=rows,
        worst=rows,
        best=rows,
        losses={names[0]: dict.fromkeys(names, ((0, 1.0), (1, 0.5)))},
        together=class_by_class(labels, names),
        contexts=class_by_context(labels, labels, names, names),
        groups=Comparison(names[0], ("aligned", "conflicting"), ((names[0], (0.5, 0.3)),), names[1]),
        comparisons=(Comparison(names[0], names[:2], ((names[0], (0.5, 0.3)), (names[1], (0.4, 0.4))), names[0]),),
        coverage=coverage,
        warnings=names,
    )


def test_hostile_names_are_escaped() -> None:
    source = render(full(ATTACKS))
    page = Page(source)
    assert page.open == []
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert page.sources() and all(value.startswith("data:image/") for value in page.sources())
    assert all(value.startswith("#") for name, value in page.attributes if name in ("href", "action"))
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "猫 кот" in page.text
    assert not set("\u202e\x00\x1b") & set(source)
    assert source.encode("utf-8")


def test_the_page_loads_nothing_and_its_policy_allows_only_its_own_style() -> None:
    source = render(full(("cow", "car", "cat")))
    assert not re.search(r"https?://|@import|url\(|=\s*[\"']//", source)
    policy = next(value for name, value in Page(source).attributes if value.startswith("default-src"))
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_thresholds_are_described_by_how_they_were_chosen() -> None:
    text = Page(render(full(("cow", "car", "cat")))).text
    assert "fixed threshold 0.10" in text
    assert "threshold 0.20 (chosen without masks)" in text
    assert "the diamond the one that was chosen from the maps" in text
    assert "Co-occurrence" in text
    assert "best threshold 0.30 (chosen on the ground truth)" in text


def test_a_page_needs_only_a_title() -> None:
    page = Page(render(ReportData("Only a title")))
    assert page.open == []
    assert "Only a title" in page.text


def test_without_ground_truth_the_coverage_is_shown() -> None:
    coverage = Coverage(1)
    coverage.update(np.ones((4, 4), np.uint8), np.ones((4, 4), np.float32), np.array([True]))
    split = SplitFacts("train", 1, 0, (1,))
    text = Page(render(ReportData("t", classes=("cow",), splits=(split,), coverage=coverage))).text
    assert "Nothing here could be scored" in text
    assert "tagged but not found" in text


def test_many_large_pictures_keep_the_page_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    smooth = np.kron(noise[::20, ::20], np.ones((20, 20, 1), np.uint8))
    row = PictureRow("x", ("cow",), tuple((f"{i}", smooth) for i in range(2)))
    source = render(ReportData("t", classes=("cow",), pictures=(row,) * (MAX_ROWS + 5)))
    assert source.count("<article") == MAX_ROWS
    assert "5 more rows are left out" in source
    assert len(source) < 2_000_000
