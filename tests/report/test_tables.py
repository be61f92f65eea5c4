from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from deft.metrics.coverage import Coverage
from deft.report.data import HOW, Comparison, ReportData, Score, SplitFacts, StageRow
from deft.report.tables import (
    class_table,
    comparison_table,
    coverage_table,
    duration,
    score_table,
    settings_rows,
    stage_table,
)

NAN = float("nan")


def test_scores_at_swept_thresholds_have_another_style() -> None:
    scores = tuple(Score("seeds", "train", 0.4, threshold=0.1, chosen=how) for how in HOW)
    rows = score_table(ReportData("t", scores=scores)).rows
    assert list(HOW) == ["fixed", "auto", "tuned", "swept"]
    assert [row.cells[2].tone == "swept" for row in rows] == [False, False, False, True]
    assert [row.cells[2].tone for row in rows].count("best") == 1
    assert len({row.name for row in rows}) == 4


def test_classes_are_sorted_by_the_main_score_and_aligned_with_average_precision() -> None:
    data = ReportData(
        "t",
        classes=("a", "b", "c"),
        splits=(SplitFacts("train", 9, 9, (1, 2, 3)),),
        scores=(
            Score("network", "val", 0.5, per_class=(0.9, 0.1, NAN, 0.7), headline=True),
            Score("classification", "val", 0.8, measure="mAP", per_class=(0.2, 0.3, 0.4)),
        ),
    )
    table = class_table(data)
    assert table is not None
    assert [row.name for row in table.rows] == ["background", "c", "a", "b"]
    assert [cell.text for cell in table.rows[1].cells] == ["3", "70.0\u00a0%", "40.0\u00a0%"]
    assert [cell.text for cell in table.rows[0].cells] == ["–", "90.0\u00a0%", "–"]
    assert [row.value for row in table.rows] == [0, 3, 1, 2]


def test_scores_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 values"):
        class_table(ReportData("t", classes=("a", "b"), scores=(Score("seeds", "train", 0.1, per_class=(0.1,)),)))


def test_suspicious_coverage_is_marked() -> None:
    coverage = Coverage(2)
    coverage.update(np.full((4, 4), 1, np.uint8), np.full((4, 4), 0.9, np.float32), np.array([True, True]))
    table = coverage_table(ReportData("t", classes=("a", "b"), coverage=coverage))
    assert table is not None
    assert table.rows[1].cells[0].tone == "weak"
    assert table.rows[2].cells[3].text == "1 of 1"
    assert table.rows[2].cells[3].tone == "weak"
    assert coverage_table(ReportData("t")) is None


def test_comparison_marks_the_best_and_shows_the_difference() -> None:
    rows = (("cam", (0.6, 0.4)), ("deft", (0.5, 0.45)))
    comparison = Comparison("t", ("aligned", "conflicting"), rows, images=(3, 4))
    table = comparison_table(comparison, rivals=True)
    assert [cell.tone for cell in table.rows[0].cells] == ["best", "", ""]
    assert table.rows[0].cells[2].text == "−20.0"
    assert table.head == ("aligned (3 images)", "conflicting (4 images)", "conflicting − aligned")
    assert all(not cell.tone for row in comparison_table(comparison, rivals=False).rows for cell in row.cells)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (59.4, "59 s"), (185, "3 min 05 s"), (2162, "36 min"), (3599, "60 min"), (7620, "2 h 07 min")],
)
def test_durations_as_text(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_stage_bars_are_relative_to_the_longest() -> None:
    rows = stage_table((StageRow("a", 10.0), StageRow("b", 5.0))).rows
    assert [row.cells[0].bar for row in rows] == [100.0, 50.0]
    assert stage_table((StageRow("a", 0.0),)).rows[0].cells[0].bar is None


def test_settings_are_flattened() -> None:
    @dataclass(frozen=True)
    class Head:
        maps: int = 64

    assert settings_rows({"head": Head(), "plan": {"clip": None}, "empty": {}}) == [
        ("head.maps", "64"),
        ("plan.clip", "none"),
        ("empty", "{}"),
    ]
