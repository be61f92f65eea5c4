"""Every ``>>>`` in the package's docstrings and on the pages shows what comes out."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [path for path in sorted((ROOT / "deft").rglob("*.py")) if ">>>" in path.read_text(encoding="utf-8")]
PAGES = [
    path
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
    if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", [dotted(path) for path in MODULES])
def test_examples_of_a_module(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0, "a >>> outside the docstrings of what the module defines is never run"
    assert found.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page(page: Path) -> None:
    text = re.sub(r"^ *```.*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner()
    assert runner.run(examples).failed == 0
    assert runner.tries > 0


def test_what_a_reader_calls_first_has_an_example() -> None:
    shown = {name for path in MODULES for name in re.findall(r">>> .*?(\w+)\(", path.read_text(encoding="utf-8"))}
    assert shown >= {"open_data", "multi_hot", "assign", "number", "Confusion", "ThresholdSweep", "average_precision"}
