from __future__ import annotations

import math
from typing import Any

import pytest

from deft.recipes import cam, irn
from deft.report.data import Curve
from deft.studies import score_tables
from deft.studies.outcome import Table
from deft.studies.paired import COUNTED
from deft.studies.rows import Finding, Row
from deft.studies.score_tables import MASKS, NETWORK, SEEDS, Column, Layout, difference, mean_and_spread

LAYOUT = Layout(
    "test",
    "A test",
    SEEDS,
    Column("IoU", ("train", "seeds", "swept", "iou")),
    "IoU of each class",
    paper="paper, VOC",
    curve=("train", "seeds"),
)
BASE = Row("irn", "irn", irn(), paper="48.3")
DEFT = Row("irn_deft", "irn_deft", irn(), against=("irn", "elsewhere"), paper="52.3")
PLAIN = Row("cam", "cam", cam())


def scores(auto: float, swept: float, fixed: float | None = None) -> dict[str, Any]:
    """Scores of a run whose threshold was chosen, or set to a number."""
    found = {
        "auto": {"threshold": 0.3, "miou": auto, "iou": [0.9, auto, None]},
        "swept": {"threshold": 0.2, "miou": swept, "iou": [0.9, swept, None]},
    }
    if fixed is not None:
        found["fixed"] = {"threshold": 0.15, "miou": fixed, "iou": [0.9, fixed, None]}
    how = "auto" if fixed is None else "fixed"
    used = {"chosen": how, **found[how]}
    curve = {"curve": [auto] * 100, "thresholds": [step / 100 for step in range(100)]}
    return {"classes": ["cat", "cow|_x_"], "train": {"seeds": {**curve, **found, "used": used}}}


FINDINGS = [
    Finding(BASE, 0, scores(0.40, 0.50)),
    Finding(BASE, 1, scores(0.42, 0.52)),
    Finding(DEFT, 0, scores(0.45, 0.53)),
    Finding(DEFT, 1, scores(0.45, 0.51)),
    Finding(PLAIN, 0, failure="diverged"),
    Finding(PLAIN, 1),
]


def named(title: str) -> Table:
    (found,) = [table for table in LAYOUT.compose(FINDINGS).tables if table.title.startswith(title)]
    return found


def test_scores_are_mean_and_deviation_beside_the_papers_result() -> None:
    table = named("Scores")
    assert table.columns == (
        "system",
        "runs",
        "seeds train, auto",
        "auto threshold",
        "seeds train, swept",
        "best threshold",
        "paper, VOC",
    )
    assert table.rows[0] == ("irn", "2", "41.0 ± 1.4", "0.30 ± 0.00", "51.0 ± 1.4", "0.20 ± 0.00", "48.3")
    assert table.rows[2] == ("cam", "failed", "–", "–", "–", "–", "–")


def test_fixed_and_chosen_thresholds_have_separate_columns() -> None:
    outcome = LAYOUT.compose([Finding(BASE, 0, scores(0.40, 0.50, fixed=0.35)), Finding(PLAIN, 0, scores(0.3, 0.4))])
    table = outcome.tables[0]
    assert table.columns[2:6] == ("seeds train, fixed", "fixed threshold", "seeds train, auto", "auto threshold")
    assert table.rows[0][2:6] == ("35.0", "0.15", "40.0", "0.30")
    assert table.rows[1][2:6] == ("–", "–", "30.0", "0.30")
    assert (outcome.plots[0].name, outcome.plots[0].alt.split(", mIoU")[0]) == (
        "scores",
        "Bars of seeds train, fixed, seeds train, auto",
    )


def test_the_curve_is_marked_at_the_threshold_of_the_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Curve] = {}
    monkeypatch.setattr(score_tables, "threshold_chart", lambda curves: drawn.update(curves) or b"")
    LAYOUT.compose([Finding(BASE, 0, scores(0.40, 0.50, fixed=0.35)), Finding(BASE, 1, scores(0.42, 0.52))])
    assert drawn["irn"].used == pytest.approx((0.15 + 0.30) / 2)
    assert drawn["irn"].miou == pytest.approx([0.41] * 100)


def test_columns_read_the_threshold_in_use() -> None:
    one = {"train": {"masks": scores(0.40, 0.50, fixed=0.35)["train"]["seeds"], "seeds": scores(0.3, 0.4)}}
    found = {column.title: column.of(one) for column in (*MASKS, *NETWORK)}
    assert (found["masks train, fixed"], found["fixed threshold"]) == (0.35, 0.15)
    assert (found["masks train, auto"], found["auto threshold"]) == (0.40, 0.30)
    assert found["its masks train"] == 0.35


def test_differences_pair_runs_with_the_same_seed() -> None:
    (row,) = named("Paired differences").rows
    assert row == ("irn_deft vs. irn", "2", "+4.0 ± 1.4 (2 of 2)", "+1.0 ± 2.8 (1 of 2)")


def test_absent_classes_have_no_number_and_names_are_escaped() -> None:
    table = named("IoU of each class")
    assert [row[0] for row in table.rows] == ["background", "cat", "cow|\\_x\\_"]
    assert table.rows[1][1:] == ("51.0 ± 1.4", "52.0 ± 1.4")
    assert table.rows[2][1:] == ("–", "–")


def test_numbers_and_charts() -> None:
    outcome = LAYOUT.compose(FINDINGS)
    assert outcome.values["irn"]["seeds"]["1"]["seeds train, swept"] == 0.52
    assert outcome.values["irn"]["seeds"]["1"]["classes"] == {"background": 0.9, "cat": 0.52, "cow|_x_": None}
    assert [plot.name for plot in outcome.plots] == ["scores", "thresholds"]
    assert outcome.plots[0].png.startswith(b"\x89PNG")
    assert any("chosen on the same ground truth" in note for note in outcome.notes)


def test_a_page_without_results_lists_the_rows() -> None:
    outcome = LAYOUT.compose([Finding(BASE, 0), Finding(DEFT, 0)])
    assert [table.rows for table in outcome.tables] == [(("irn", "0", "48.3"), ("irn_deft", "0", "52.3"))]
    assert outcome.plots == ()


def test_a_difference_counts_the_seeds_in_which_it_is_positive() -> None:
    column = Column("x", ("x",))
    ones, others = {0: {"x": 0.5}, 1: {"x": 0.4}, 2: {}}, {0: {"x": 0.4}, 1: {"x": 0.4}, 2: {"x": 0.1}}
    assert difference(column, ones, others, [0, 1, 2]) == "+5.0 ± 7.1 (1 of 2)"
    assert difference(column, ones, others, [2]) == "–"


def test_mean_and_spread_of_known_values() -> None:
    assert mean_and_spread([0.2, None, 0.4]) == (pytest.approx(0.3), pytest.approx(math.sqrt(0.02)))
    assert mean_and_spread([0.2]) == (0.2, 0.0)
    assert math.isnan(mean_and_spread([None])[0])


def test_differences_say_how_far_images_and_seeds_decide_them() -> None:
    def counting(row: Row, seed: int, hits: int) -> Finding:
        images = {f"i{n}": {"0": [50 + n, 100], "1": [hits + 5 * n, 100]} for n in range(8)}
        return Finding(row, seed, scores(0.4, 0.5) | {COUNTED: {"seeds": images}})

    findings = [counting(BASE, 0, 30), counting(BASE, 1, 30), counting(DEFT, 0, 40), counting(DEFT, 1, 50)]
    outcome = LAYOUT.compose(findings)
    table = next(table for table in outcome.tables if table.title.startswith("Paired"))
    assert table.columns[-2:] == ("95 % interval", "draws above 0")
    assert table.rows[0][-2:] == ("+5.0 to +10.0", "100 %")  # the seeds alone: all images differ alike
    found = outcome.values["irn_deft"]["against"]["irn"]
    assert found.pop("seeds") == [0, 1]
    assert found == pytest.approx({"mean": 0.075, "low": 0.05, "high": 0.1, "above": 1.0})
    assert outcome.values["irn"]["against"] == {}
