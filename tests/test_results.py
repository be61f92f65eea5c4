"""The page of results and the README's table say what the files of the benchmarks say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which is no part of the package."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("results")


def test_the_page_is_drawn_from_the_files(results: ModuleType) -> None:
    assert (ROOT / "docs" / "results.md").read_text() == results.page(), "run python benchmarks/results.py"


def test_the_readme_has_the_present_table(results: ModuleType) -> None:
    text = (ROOT / "README.md").read_text()
    assert text == results.readme(text), "run python benchmarks/results.py"
    assert results.BEGIN in text and results.END in text


def test_every_picture_is_there_and_none_is_left_over() -> None:
    shown = set(re.findall(r"\]\(results/([\w-]+\.png)\)", (ROOT / "docs" / "results.md").read_text()))
    assert shown == {path.name for path in (ROOT / "docs" / "results").iterdir()}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.001, 0.02, "held, +1.0 (+0.1 to +2.0) [2]"), (-0.01, 0.03, "undecided"), (-0.03, -0.01, "**contradicted**")],
)
def test_a_statement_is_judged_by_its_interval(results: ModuleType, low: float, high: float, said: str) -> None:
    assert results.verdict({"mean": 0.01, "low": low, "high": high, "seeds": [0, 1]}).startswith(said)


def test_a_table_has_what_is_open_and_the_difference_to_the_twin(results: ModuleType) -> None:
    study = importlib.import_module("results_data").Study(
        "masks", "2a", "Masks", "auto", "swept", "", ("irn", "irn_deft", "psa")
    )
    against: dict[str, Any] = {"irn": {"mean": 0.02, "low": -0.01, "high": 0.05, "above": 0.9, "seeds": [0]}}
    found = {
        "irn": {"label": "irn", "paper": "66.3", "seeds": {"0": {"auto": 0.5, "swept": 0.6}}, "against": {}},
        "irn_deft": {"label": "irn_deft", "seeds": {"0": {"auto": 0.52, "swept": 0.61}}, "against": against},
    }
    text = results.table(study, {"masks": {"mobilenetv2_100": {"found": found}}})
    assert "| `irn` | 1 | 50.0 (60.0) | – | 66.3 |" in text
    assert "| `irn_deft` | 1 | 52.0 (61.0) | +2.0 (-1.0 to +5.0) to `irn` | – |" in text
    assert "| `psa` | open | – | – | – |" in text
