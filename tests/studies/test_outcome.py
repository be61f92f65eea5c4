from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from deft.studies.outcome import Outcome, Plot, Table, cell, finite, markdown, write

OUTCOME = Outcome(
    "colours",
    "Which colour",
    (Table("Scores", ("system", "a|b"), (("irn", "1"), ("x | y", "2"))),),
    (Plot("bars", b"png", "two bars"),),
    notes=("Mind the gap.",),
    values={"irn": {"0": 0.5, "1": math.nan}},
)


@pytest.mark.parametrize(
    ("values", "options", "text"),
    [
        ([0.5, 0.6, 0.7], {}, "60.0 ± 10.0"),
        ([0.5], {}, "50.0"),
        ([0.5, None, math.nan], {}, "50.0"),
        ([None], {}, "–"),
        ([0.1, 0.3], {"scale": 1.0, "digits": 2}, "0.20 ± 0.14"),
        ([0.01, 0.03], {"sign": True}, "+2.0 ± 1.4"),
        ([-0.01, -0.03], {"sign": True}, "-2.0 ± 1.4"),
    ],
)
def test_a_cell_is_mean_and_deviation_of_the_known_values(
    values: list[float], options: dict[str, float], text: str
) -> None:
    assert cell(values, **options) == text


def test_a_pipe_character_does_not_add_a_column() -> None:
    lines = markdown(OUTCOME.tables[0])
    assert lines[2:] == ["| system | a\\|b |", "|---|---|", "| irn | 1 |", "| x \\| y | 2 |", ""]


def test_page_numbers_and_images_are_written(tmp_path: Path) -> None:
    page = write(OUTCOME, tmp_path, {"command": "`deft study colours`"})
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "colours.md"
    assert text.startswith("# Which colour\n\n- command: `deft study colours`\n\nMind the gap.")
    assert "![two bars](colours-bars.png)" in text
    assert (tmp_path / "colours-bars.png").read_bytes() == b"png"
    found = json.loads((tmp_path / "colours.json").read_text())
    assert found["found"] == {"irn": {"0": 0.5, "1": None}}
    assert found["facts"] == {"command": "`deft study colours`"}


def test_missing_and_failed_runs_are_named_at_the_top(tmp_path: Path) -> None:
    outcome = Outcome("colours", "Which colour", (), failures=("irn, seed 0: no\n<b>light</b>",), open=3)
    lines = write(outcome, tmp_path, {}).read_text(encoding="utf-8").splitlines()
    assert lines[2].startswith("**Not finished: 3 runs")
    assert lines[4].startswith("**Failed:** irn, seed 0: no &lt;b&gt;light")


def test_nan_and_infinity_become_null() -> None:
    assert finite({1: (math.inf, 2.0), "a": [math.nan, "b", None]}) == {"1": [None, 2.0], "a": [None, "b", None]}
